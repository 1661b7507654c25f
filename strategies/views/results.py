"""The page of one backtest: progress, result, charts, round trips."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from django.views.decorators.http import require_GET
from django_htmx.http import HttpResponseClientRefresh

from alphastrat.core import exports, live
from alphastrat.core.access import Role
from alphastrat.core.charts import Chart, figure_response
from alphastrat.core.etags import not_modified, with_entity_tag
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.models import Job
from alphastrat.core.tables import Column, read_order
from strategies.backtest_report import report_response
from strategies.charts import CHARTS, MONTHS
from strategies.luck_charts import LUCK_CHARTS, bars_words, looks_words
from strategies.models import BacktestRun
from strategies.services.examination import (
    newest_sweep_of,
    newest_walk_forward_of,
    sharpe_evidence,
)
from strategies.services.results import Results, records
from strategies.views import result_tables

TRIPS_PER_PAGE = 100
N_SHOWN_TRIPS = 12
ALL_CHARTS = {**CHARTS, **LUCK_CHARTS}


@login_required
@require_GET
def backtest_detail(request: PageRequest, run_id: UUID) -> HttpResponseBase:
    """Show a run: its progress while it is under way, its reason if it failed, its result."""
    run = _run(request, run_id)
    if request.GET.get("format") == "json":
        return _document(run)
    if request.GET.get("format") == "pdf":
        return _report(run)
    if not run.is_ended:
        return _progress(request, run)
    if request.htmx and request.htmx.target and "job" in request.htmx.target:
        return HttpResponseClientRefresh()
    context: dict[str, Any] = {
        "run": run,
        "at": now(),
        "settings": result_tables.settings_of(run),
        "can_write": request.user.has_role(Role.TRADER),
    }
    if run.status == BacktestRun.Status.FAILED:
        return render_page(
            request, "strategies/backtest_failed.html", "strategies/_backtest_failed.html", context
        )
    context |= _result(request, run)
    return render_page(
        request, "strategies/backtest_detail.html", "strategies/_backtest_result.html", context
    )


@login_required
@require_GET
def backtest_chart(request: PageRequest, run_id: UUID, chart: str) -> HttpResponseBase:
    """Answer a chart's figure, or its numbers with `?format=csv`."""
    run = _run(request, run_id)
    if chart not in ALL_CHARTS or run.status != BacktestRun.Status.SUCCEEDED:
        raise Http404
    form = request.GET.get("format")
    unchanged = not_modified(request, run.etag, chart, form)
    if unchanged is not None:
        return unchanged
    built = ALL_CHARTS[chart](Results(run))
    if form:
        return _numbers(run, built, form)
    return with_entity_tag(request, figure_response(built.draw()))


@login_required
@require_GET
def backtest_examination(request: PageRequest, run_id: UUID) -> HttpResponseBase:
    """Answer the second engine's verdict; the whole page once there is one."""
    run = _run(request, run_id)
    if run.agreement and request.htmx:
        return HttpResponseClientRefresh()
    page = "strategies/_agreement.html"
    return render_page(request, page, page, {"run": run, "examination": _examination_job(run)})


@login_required
@require_GET
def backtest_trades(request: PageRequest, run_id: UUID) -> HttpResponseBase:
    """List every round trip, sorted and paged, or export them all."""
    run = _run(request, run_id)
    if run.status != BacktestRun.Status.SUCCEEDED:
        raise Http404
    columns = result_tables.trip_columns(run)
    order = read_order(request, columns, default="entry_time")
    trips = Results(run).trips.sort_values(
        order.sort, ascending=not order.descending, kind="stable"
    )
    rows = records(trips)
    if "format" in request.GET:
        return exports.table_response(
            rows,
            result_tables.TRIP_EXPORTS,
            name=f"trades-{str(run.pk)[:8]}",
            form=request.GET["format"],
        )
    context = {
        "run": run,
        "columns": columns,
        "order": order,
        "page": Paginator(rows, TRIPS_PER_PAGE).get_page(request.GET.get("page")),
    }
    return render_page(
        request, "strategies/backtest_trades.html", "strategies/_backtest_trades.html", context
    )


def _progress(request: PageRequest, run: BacktestRun) -> HttpResponse:
    heads = live.heads(f"job:{run.job_id}") if run.job_id else {}
    return render_page(
        request,
        "strategies/backtest_progress.html",
        "strategies/_backtest_progress.html",
        {"run": run, "settings": result_tables.settings_of(run), "heads": heads},
    )


def _result(request: PageRequest, run: BacktestRun) -> dict[str, Any]:
    results = Results(run)
    drawn = {key.replace("-", "_"): build(results) for key, build in CHARTS.items()}
    years, table = results.monthly_returns()
    trips = results.trips
    return {
        "numbers": results.numbers,
        "versus": results.benchmark_numbers,
        "charts": drawn,
        "metrics": result_tables.metric_rows(results),
        "metric_columns": result_tables.METRIC_COLUMNS,
        "month_names": MONTHS,
        "months": result_tables.heat_rows(years, table),
        "drawdowns": result_tables.drawdown_rows(run),
        "drawdown_columns": result_tables.DRAWDOWN_COLUMNS,
        "by_year": results.by("year"),
        "by_reason": results.by("exit_reason"),
        "by_side": results.by("side"),
        "by_year_columns": result_tables.group_columns("year", "Year"),
        "by_side_columns": result_tables.group_columns("side", "Side"),
        "by_reason_columns": result_tables.group_columns("exit_reason", "Exit"),
        "trip_columns": result_tables.trip_columns(run, is_short=True),
        "trips": records(trips.tail(N_SHOWN_TRIPS).iloc[::-1]),
        "n_trips": len(trips),
        "provenance": result_tables.provenance_of(run),
        "findings": run.findings,
        "is_outdated": BacktestRun.objects.filter(pk=run.pk).on_restated_bars().exists(),
    } | _examination(results)


def _examination(results: Results) -> dict[str, Any]:
    run = results.run
    is_ours = run.engine != BacktestRun.Engine.IMPORTED
    evidence = sharpe_evidence(results)
    built = {f"{key}_chart": build(results) for key, build in LUCK_CHARTS.items()}
    return built | {
        "examination": _examination_job(run),
        "evidence": evidence,
        "sweep": newest_sweep_of(run) if is_ours else None,
        "walk_forward": newest_walk_forward_of(run) if is_ours else None,
        "luck_note": looks_words(evidence),
        "bars_note": bars_words(evidence),
        "crises": result_tables.crisis_rows(run),
        "crisis_columns": result_tables.CRISIS_COLUMNS,
    }


def _examination_job(run: BacktestRun) -> Job | None:
    """Return the job that checks a run which has not been checked yet."""
    if run.agreement:
        return None
    return Job.objects.filter(key=f"examine:{run.pk}").order_by("-created_at").first()


def _numbers(run: BacktestRun, chart: Chart, form: str) -> HttpResponseBase:
    rows = (dict(zip(chart.columns, row, strict=True)) for row in chart.rows())
    columns = [Column(name, name) for name in chart.columns]
    name = f"{chart.key}-{str(run.pk)[:8]}"
    return exports.table_response(rows, columns, name=name, form=form)


def _document(run: BacktestRun) -> HttpResponseBase:
    columns = [Column(name, name) for name in result_tables.DOCUMENT]
    name = f"backtest-{str(run.pk)[:8]}"
    return exports.table_response([run], columns, name=name, form="json")


def _report(run: BacktestRun) -> HttpResponse:
    if run.status != BacktestRun.Status.SUCCEEDED:
        raise Http404
    return report_response(Results(run), at=now())


def _run(request: PageRequest, run_id: UUID) -> BacktestRun:
    runs = BacktestRun.objects.for_user(request.user).select_related(
        "strategy_version__strategy", "job", "owner"
    )
    return get_object_or_404(runs, pk=run_id)
