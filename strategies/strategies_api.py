"""JSON API of strategies: rows, versions and their backtests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema, Status

from alphastrat.core.models import Job
from alphastrat.core.pagination import paged
from alphastrat.core.schemas import JobOut
from strategies.models import LifecycleState, Strategy, StrategyVersion
from strategies.models.strategy import StrategyQuerySet
from strategies.schemas import (
    MoveIn,
    StrategyBacktestIn,
    StrategyChangeIn,
    StrategyIn,
    StrategyOut,
    VersionOut,
)
from strategies.services.backtesting import request_backtest
from strategies.services.lifecycle import (
    StrategyDraft,
    change_strategy,
    create_strategy,
    move_strategy,
    version_of,
)
from strategies.services.specification import of_version
from strategies.signals_api import router as signals_router

router = Router(tags=["strategies"])
router.add_router("", signals_router)


class StrategyFilter(Schema):
    state: LifecycleState | None = None
    plugin: str | None = None


@router.get("", response=list[StrategyOut], url_name="list_strategies")
@paged
def list_strategies(request: HttpRequest, wanted: Query[StrategyFilter]) -> StrategyQuerySet:
    """List your strategies by name; administrators and viewers see everyone's."""
    found = Strategy.objects.for_user(request.user).with_version()
    if wanted.state:
        found = found.filter(state=wanted.state)
    return found.filter(plugin=wanted.plugin) if wanted.plugin else found


@router.post("", response={201: StrategyOut}, url_name="create_strategy")
def create(request: HttpRequest, draft: StrategyIn) -> Status[Strategy]:
    """Create a strategy in research with its first version."""
    return Status(201, create_strategy(request.user, StrategyDraft(**draft.model_dump())))


@router.get("/{uuid:strategy_id}", response=StrategyOut, url_name="get_strategy")
def get_strategy(request: HttpRequest, strategy_id: UUID) -> Strategy:
    """Show a strategy."""
    return _strategy(request, strategy_id)


@router.put("/{uuid:strategy_id}", response=StrategyOut, url_name="change_strategy")
def change(request: HttpRequest, strategy_id: UUID, wanted: StrategyChangeIn) -> Strategy:
    """Change a strategy: a new version, unless nothing of a version was changed."""
    strategy = _strategy(request, strategy_id)
    change_strategy(
        strategy,
        wanted.draft(),
        by=request.user,
        reason=wanted.reason,
        expected_version=wanted.expected_version,
    )
    return _strategy(request, strategy_id)


@router.post("/{uuid:strategy_id}/state", response=StrategyOut, url_name="move_strategy")
def move(request: HttpRequest, strategy_id: UUID, wanted: MoveIn) -> Strategy:
    """Move a strategy along its lifecycle; 409 where there is no such step or a gate refuses."""
    strategy = _strategy(request, strategy_id)
    move_strategy(strategy, wanted.state, at=now(), reason=wanted.reason)
    return _strategy(request, strategy_id)


@router.get("/{uuid:strategy_id}/versions", response=list[VersionOut], url_name="list_versions")
@paged
def list_versions(request: HttpRequest, strategy_id: UUID) -> Any:
    """List the versions of a strategy, newest first."""
    strategy = _strategy(request, strategy_id)
    return StrategyVersion.objects.filter(strategy=strategy).select_related("created_by")


@router.post("/{uuid:strategy_id}/backtest", response={202: JobOut}, url_name="backtest_strategy")
def backtest_strategy(
    request: HttpRequest, strategy_id: UUID, asked: StrategyBacktestIn
) -> Status[Job | None]:
    """Backtest a version of a strategy, the current one where none is named."""
    version = version_of(_strategy(request, strategy_id), asked.version)
    specification = of_version(version, **asked.model_dump(exclude={"version"}))
    run = request_backtest(request.user, specification, at=now(), version=version)
    return Status(202, run.job)


def _strategy(request: HttpRequest, strategy_id: UUID) -> Strategy:
    found = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(found, pk=strategy_id)
