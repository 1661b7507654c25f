"""JSON API of walk-forwards and sweeps."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.timezone import now
from ninja import Field, Query, Router, Schema, Status

from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.core.pagination import paged
from alphastrat.core.schemas import JobOut
from strategies.models import Sweep, WalkForward
from strategies.models.search import Search, SearchStatus
from strategies.schemas import BacktestIn, Exact
from strategies.services import searching, sweeps, walk_forwards
from strategies.services.specification import Specification
from strategies.services.studies import discard
from strategies.services.sweep_findings import find as find_faults
from strategies.services.sweep_judging import luck_of
from strategies.services.sweep_surface import SetRows, Surface
from strategies.services.verdicts import judge

walk_forwards_router = Router(tags=["walk-forwards"])
sweeps_router = Router(tags=["sweeps"])


class RangeIn(Exact):
    """The values of one axis: a range with its ends, or the values themselves."""

    low: float | None = None
    high: float | None = None
    step: float | None = None
    values: list[int | float | bool | str] | None = None

    def axis(self) -> dict[str, Any]:
        """Return the axis as services take it."""
        if self.values is not None:
            return {"values": self.values}
        return {"low": self.low, "high": self.high, "step": self.step}


class SearchIn(BacktestIn):
    """A hypothesis and what varies; parameters that vary need not be in `parameters`."""

    space: dict[str, RangeIn]

    def axes(self) -> dict[str, Any]:
        """Return the axes as services take them."""
        return {name: axis.axis() for name, axis in self.space.items()}

    def specification(self) -> Specification:
        """Return what is asked for, unchecked."""
        names = set(BacktestIn.model_fields)
        return Specification(**{k: v for k, v in self.model_dump().items() if k in names})


class WalkForwardIn(SearchIn):
    """A walk-forward; `purge` and `embargo` choose by themselves when left out."""

    scheme: str = "rolling"
    selection: str = "peak"
    n_folds: int = 6
    train_share: float = 0.7
    purge: int | None = None
    embargo: int | None = None


class SearchOut(Schema):
    """What walk-forwards and sweeps have in common."""

    id: UUID
    title: str
    plugin: str
    parameters: dict[str, Any]
    space: dict[str, Any]
    symbols: list[str]
    timeframe: str
    start_at: datetime
    end_at: datetime
    capital: Decimal
    currency: str
    status: SearchStatus
    failure_reason: str
    failure_code: str
    n_sets: int
    n_evaluated: int
    requested_at: datetime
    finished_at: datetime | None
    job_id: UUID | None
    url: str

    @staticmethod
    def resolve_status(search: Search) -> str:
        return search.state


class WalkForwardOut(SearchOut):
    """A walk-forward with its headline numbers; fractions, losses negative, undefined null."""

    scheme: str
    selection: str
    n_folds: int
    train_share: float
    purge: int
    embargo: int
    efficiency: float | None
    sharpe_efficiency: float | None
    sharpe_ratio: float | None
    total_return: float | None
    max_drawdown: float | None
    n_trades: int | None

    @staticmethod
    def resolve_url(search: WalkForward) -> str:
        return reverse("api-1:get_walk_forward", args=[search.pk])


class SweepIn(SearchIn):
    """A sweep; `budget` is how many sets a Bayesian one may try."""

    method: str = "grid"
    objective: str = "sharpe"
    budget: int = 200


class SweepOut(SearchOut):
    """A sweep with its headline numbers; undefined ones are null."""

    method: str
    objective: str
    budget: int | None
    best_sharpe: float | None
    plateau_sharpe: float | None
    stability: float | None
    overfitting_probability: float | None

    @staticmethod
    def resolve_url(search: Sweep) -> str:
        return reverse("api-1:get_sweep", args=[search.pk])


class SetOut(Schema):
    """One parameter set and what it did; `set` holds the parameters that vary."""

    number: int
    set: dict[str, Any]
    sharpe: float | None
    smoothed: float | None
    total_return: float | None
    volatility: float | None
    max_drawdown: float | None
    n_trips: float | None
    win_rate: float | None
    profit_factor: float | None
    exposure: float | None
    turnover: float | None


class FindingOut(Schema):
    severity: str
    text: str


class WalkForwardDetailOut(WalkForwardOut):
    """A walk-forward with its folds and what they say."""

    costs: dict[str, Any]
    exit_rules: dict[str, Any]
    sizing: dict[str, Any]
    benchmark: str
    seed: int
    n_bars: int | None
    periods_per_year: float | None
    data_fingerprint: str
    code_version: str
    library_versions: dict[str, str]
    folds: list[dict[str, Any]]
    summary: dict[str, Any]
    verdict: str | None = None
    findings: list[FindingOut] = Field(default_factory=list)


class SweepDetailOut(SweepOut):
    """A sweep with its best and steadiest sets and what they are worth."""

    costs: dict[str, Any]
    exit_rules: dict[str, Any]
    sizing: dict[str, Any]
    seed: int
    n_bars: int | None
    periods_per_year: float | None
    data_fingerprint: str
    code_version: str
    library_versions: dict[str, str]
    summary: dict[str, Any]
    luck: dict[str, Any] | None = None
    findings: list[FindingOut] = Field(default_factory=list)


class OutOfSampleOut(Schema):
    """The stitched out-of-sample record, one value per bar close."""

    time: list[datetime]
    fold: list[int]
    equity: list[float | None]
    benchmark: list[float | None]
    returns: list[float | None]


class SearchFilter(Schema):
    plugin: str | None = None


@walk_forwards_router.post("", response={202: JobOut}, url_name="create_walk_forward")
def create_walk_forward(request: HttpRequest, asked: WalkForwardIn) -> Status[Job | None]:
    """Ask for a walk-forward; the job's `result_url` and `result` lead to it."""
    names = ("scheme", "selection", "n_folds", "train_share", "purge", "embargo")
    wanted = walk_forwards.WalkForwardRequest(
        asked.specification(), asked.axes(), **{name: getattr(asked, name) for name in names}
    )
    analysis = walk_forwards.request_walk_forward(request.user, wanted, at=now())
    return Status(202, analysis.job)


@walk_forwards_router.get("", response=list[WalkForwardOut], url_name="list_walk_forwards")
@paged
def list_walk_forwards(request: HttpRequest, wanted: Query[SearchFilter]) -> Any:
    """List your walk-forwards, newest first; administrators and viewers see everyone's."""
    found = WalkForward.objects.for_user(request.user).listed()
    return found.filter(plugin=wanted.plugin) if wanted.plugin else found


@walk_forwards_router.get(
    "/{uuid:search_id}", response=WalkForwardDetailOut, url_name="get_walk_forward"
)
def get_walk_forward(request: HttpRequest, search_id: UUID) -> WalkForward:
    """Show a walk-forward: settings, folds, numbers, verdict, provenance."""
    analysis = find(request, WalkForward, search_id)
    if analysis.status == SearchStatus.SUCCEEDED:
        analysis.verdict, analysis.findings = judge(analysis)
    return analysis


@walk_forwards_router.get(
    "/{uuid:search_id}/equity", response=OutOfSampleOut, url_name="get_walk_forward_equity"
)
def get_walk_forward_equity(request: HttpRequest, search_id: UUID) -> Any:
    """Return the stitched out-of-sample equity at every bar close."""
    analysis = find(request, WalkForward, search_id)
    if analysis.status != SearchStatus.SUCCEEDED:
        raise Http404
    frame = walk_forwards.equity_frame(analysis)
    columns = {"equity": "equity", "benchmark": "benchmark", "returns": "return"}
    return {
        "time": [time.isoformat() for time in frame["time"]],
        "fold": frame["fold"].tolist(),
        **{name: jsonable(frame[column].to_numpy()) for name, column in columns.items()},
    }


@walk_forwards_router.post(
    "/{uuid:search_id}/resume", response={202: JobOut}, url_name="resume_walk_forward"
)
def resume_walk_forward(request: HttpRequest, search_id: UUID) -> Status[Job]:
    """Let a cancelled or failed walk-forward go on at its next fold."""
    analysis = find(request, WalkForward, search_id)
    task, kind = walk_forwards.TASK, walk_forwards.KIND
    return Status(202, searching.resume(analysis, task=task, kind=kind, at=now()))


@walk_forwards_router.delete(
    "/{uuid:search_id}", response={204: None}, url_name="delete_walk_forward"
)
def delete_walk_forward(request: HttpRequest, search_id: UUID) -> Status[None]:
    """Delete a walk-forward; its sets still count as trials."""
    discard(find(request, WalkForward, search_id), at=now())
    return Status(204, None)


@sweeps_router.post("", response={202: JobOut}, url_name="create_sweep")
def create_sweep(request: HttpRequest, asked: SweepIn) -> Status[Job | None]:
    """Ask for a parameter sweep; the job's `result_url` and `result` lead to it."""
    wanted = sweeps.SweepRequest(
        asked.specification(),
        asked.axes(),
        method=asked.method,
        objective=asked.objective,
        budget=asked.budget,
    )
    return Status(202, sweeps.request_sweep(request.user, wanted, at=now()).job)


@sweeps_router.get("", response=list[SweepOut], url_name="list_sweeps")
@paged
def list_sweeps(request: HttpRequest, wanted: Query[SearchFilter]) -> Any:
    """List your sweeps, newest first; administrators and viewers see everyone's."""
    found = Sweep.objects.for_user(request.user).listed()
    return found.filter(plugin=wanted.plugin) if wanted.plugin else found


@sweeps_router.get("/{uuid:search_id}", response=SweepDetailOut, url_name="get_sweep")
def get_sweep(request: HttpRequest, search_id: UUID) -> Sweep:
    """Show a sweep: settings, best and steadiest set, overfitting, luck, provenance."""
    sweep = find(request, Sweep, search_id)
    if sweep.status == SearchStatus.SUCCEEDED:
        luck = luck_of(sweep)
        sweep.luck, sweep.findings = jsonable(luck), find_faults(sweep, luck)
    return sweep


@sweeps_router.get("/{uuid:search_id}/sets", response=list[SetOut], url_name="list_sets")
@paged
def list_sets(request: HttpRequest, search_id: UUID, sort: str = "-sharpe") -> Any:
    """List the sets of a sweep, the best Sharpe ratio first; `sort` names a metric."""
    sweep = find(request, Sweep, search_id)
    if sweep.status != SearchStatus.SUCCEEDED:
        raise Http404
    surface = Surface(sweep)
    name = sort.removeprefix("-")
    if name not in surface.frame:
        raise InvalidInput(
            f"Sets are not sorted by {name!r}.",
            fields={"sort": f"Use one of {', '.join(map(str, surface.frame))}."},
        )
    values = surface.frame[name].to_numpy(np.float64)
    keys = np.where(np.isfinite(values), -values if sort.startswith("-") else values, np.inf)
    return SetRows(surface, np.argsort(keys, kind="stable"))


@sweeps_router.post("/{uuid:search_id}/resume", response={202: JobOut}, url_name="resume_sweep")
def resume_sweep(request: HttpRequest, search_id: UUID) -> Status[Job]:
    """Let a cancelled or failed sweep go on at its next chunk."""
    sweep = find(request, Sweep, search_id)
    return Status(202, searching.resume(sweep, task=sweeps.TASK, kind=sweeps.KIND, at=now()))


@sweeps_router.delete("/{uuid:search_id}", response={204: None}, url_name="delete_sweep")
def delete_sweep(request: HttpRequest, search_id: UUID) -> Status[None]:
    """Delete a sweep; its sets still count as trials."""
    discard(find(request, Sweep, search_id), at=now())
    return Status(204, None)


def find(request: HttpRequest, model: type[Search], search_id: UUID) -> Any:
    """Return a search that the caller may see, or answer 404."""
    found = model.objects.for_user(request.user).select_related("job", "owner")
    return get_object_or_404(found, pk=search_id)
