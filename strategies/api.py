"""JSON API of research: plug-ins, backtests and strategies."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema, Status

from alphastrat.core.etags import not_modified
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.core.pagination import paged
from alphastrat.core.schemas import PDF_RESPONSE, JobOut
from strategies.backtest_report import report_response
from strategies.models import BacktestRun, RunStatus
from strategies.models.backtest import BacktestRunQuerySet
from strategies.quant import registry
from strategies.quant.parameters import parameter_schema, parameter_specs
from strategies.quant.user_plugins import LoadProblem
from strategies.schemas import (
    BacktestDetailOut,
    BacktestIn,
    BacktestOut,
    EquityOut,
    PluginOut,
    RejectedPluginOut,
    TradeOut,
)
from strategies.services import plugins
from strategies.services.backtesting import request_backtest, retry_backtest
from strategies.services.examination import sharpe_evidence
from strategies.services.results import Results, records
from strategies.services.studies import discard

router = Router(tags=["backtests"])
plugins_router = Router(tags=["strategies"])


class BacktestFilter(Schema):
    status: RunStatus | None = None
    plugin: str | None = None
    strategy_id: UUID | None = None


@plugins_router.get("", response=list[PluginOut], url_name="list_plugins")
def list_plugins(request: HttpRequest) -> list[dict[str, Any]]:
    """List the strategy types with their parameters and ranges."""
    return [_plugin(registry.plugin(key)) for key in registry.plugin_keys()]


@plugins_router.get("/rejected", response=list[RejectedPluginOut], url_name="rejected_plugins")
def list_rejected_plugins(request: HttpRequest) -> tuple[LoadProblem, ...]:
    """List the files of users that cannot be used, with file, line and reason."""
    return plugins.rejected()


@plugins_router.get("/{key}", response=PluginOut, url_name="get_plugin")
def get_plugin(request: HttpRequest, key: str) -> dict[str, Any]:
    """Show one strategy type."""
    if key not in registry.plugin_keys():
        raise Http404
    return _plugin(registry.plugin(key))


@router.post("", response={202: JobOut}, url_name="create_backtest")
def create_backtest(request: HttpRequest, asked: BacktestIn) -> Status[Job | None]:
    """Ask for a backtest; the job's `result_url` and `result` lead to the run."""
    run = request_backtest(request.user, asked.specification(), at=now())
    return Status(202, run.job)


@router.get("", response=list[BacktestOut], url_name="list_backtests")
@paged
def list_backtests(request: HttpRequest, wanted: Query[BacktestFilter]) -> BacktestRunQuerySet:
    """List your backtests, newest first; administrators and viewers see everyone's."""
    runs = BacktestRun.objects.for_user(request.user).listed()
    if wanted.status:
        runs = runs.filter(status=wanted.status)
    if wanted.plugin:
        runs = runs.filter(plugin=wanted.plugin)
    if wanted.strategy_id:
        runs = runs.filter(strategy_version__strategy_id=wanted.strategy_id)
    return runs


@router.get("/{uuid:run_id}", response=BacktestDetailOut, url_name="get_backtest")
def get_backtest(request: HttpRequest, run_id: UUID) -> Any:
    """Show a run: settings, every metric, findings, agreement of the engines, provenance."""
    run = _run(request, run_id)
    if run.status != RunStatus.SUCCEEDED:
        return run
    run.sharpe_evidence = jsonable(sharpe_evidence(Results(run)))  # type: ignore[attr-defined]
    return run


@router.post("/{uuid:run_id}/retry", response={202: JobOut}, url_name="retry_backtest")
def retry(request: HttpRequest, run_id: UUID) -> Status[Job | None]:
    """Run a failed backtest again."""
    return Status(202, retry_backtest(_run(request, run_id), at=now()).job)


@router.delete("/{uuid:run_id}", response={204: None}, url_name="delete_backtest")
def delete_backtest(request: HttpRequest, run_id: UUID) -> Status[None]:
    """Delete a run; it still counts as a trial of its hypothesis."""
    discard(_run(request, run_id), at=now())
    return Status(204, None)


@router.get("/{uuid:run_id}/trades", response=list[TradeOut], url_name="list_trades", by_alias=True)
@paged
def list_trades(request: HttpRequest, run_id: UUID) -> list[dict[str, Any]]:
    """List the round trips of a run in order of exit, those still open last."""
    return records(_results(request, run_id).trips)


@router.get("/{uuid:run_id}/equity", response=EquityOut, url_name="get_equity")
def get_equity(request: HttpRequest, run_id: UUID) -> Any:
    """Return the curves of a run at every bar close."""
    run = _run(request, run_id)
    unchanged = not_modified(request, run.etag, "equity")
    if unchanged is not None:
        return unchanged
    results = _succeeded(run)
    curves = results.curves
    return jsonable(
        {
            "time": [time.isoformat() for time in curves.times],
            "equity": curves.equity,
            "benchmark": curves.benchmark,
            "drawdown": results.drawdowns,
            "gross_exposure": curves.gross,
            "net_exposure": curves.net,
        }
    )


@router.get("/{uuid:run_id}/report", url_name="backtest_report", openapi_extra=PDF_RESPONSE)
def report(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Answer the tear sheet of a run as PDF: headline numbers, curves, luck, findings, settings."""
    return report_response(_results(request, run_id), at=now())


def _run(request: HttpRequest, run_id: UUID) -> BacktestRun:
    runs = BacktestRun.objects.for_user(request.user).select_related(
        "strategy_version__strategy", "job"
    )
    return get_object_or_404(runs, pk=run_id)


def _results(request: HttpRequest, run_id: UUID) -> Results:
    return _succeeded(_run(request, run_id))


def _succeeded(run: BacktestRun) -> Results:
    if run.status != RunStatus.SUCCEEDED:
        raise Http404
    return Results(run)


def _plugin(cls: type[Any]) -> dict[str, Any]:
    found = plugins.facts(cls.key)
    return {
        "key": cls.key,
        "label": cls.label,
        "description": cls.description,
        "is_panel": registry.is_panel_plugin(cls),
        "origin": found.origin,
        "source": found.source,
        "warmup_bars": found.warmup_bars,
        "has_passed": found.has_passed,
        "checks": [{"name": check.name, "passed": check.passed} for check in found.checks],
        "parameters": [jsonable(spec) for spec in parameter_specs(cls)],
        "parameter_schema": jsonable(parameter_schema(cls)),
    }
