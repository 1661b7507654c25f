"""The first page."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core import exports, live
from alphastrat.core.charts import Chart, figure_response
from alphastrat.core.formatting import count, instant
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from monitoring import overview_charts
from monitoring.services import live_overview, live_performance
from monitoring.services import overview as figures
from strategies import charts
from strategies.models import BacktestRun
from strategies.services.results import Results

RUN_COLUMNS = (
    Column("title", "Backtest", link="get_absolute_url"),
    Column("status", "State", format="status"),
    Column("total_return", "Return", format="signed_percent", metric="total_return"),
    Column("sharpe_ratio", "Sharpe", format="signed_ratio", metric="sharpe_ratio"),
    Column("max_drawdown", "Drawdown", format="signed_percent", metric="max_drawdown"),
    Column("n_trades", "Trades", format="count"),
    Column("requested_at", "Asked for", format="age"),
)
LIVE_COLUMNS = (
    Column("name", "Strategy", link="href"),
    Column("status", "Verification", format="status"),
    Column("n_alerts", "Alerts", format="count"),
    Column("equity", "Equity", format="money", live="strategy:{id}.equity"),
    Column("day_pnl", "P&L today", format="signed_money"),
    Column("day_return", "Day", format="signed_percent"),
    Column("drawdown", "Drawdown", format="signed_percent"),
    Column("percentile", "In envelope", format="percent", options={"places": 0}),
    Column("spark", "Trend", format="html"),
)


@login_required
@require_GET
def overview_performance(request: PageRequest) -> HttpResponseBase:
    """Answer the figure of live strategies; `?format=svg` the picture, `csv` the numbers."""
    found = live_performance.live_performance(request.user)
    if found is None:
        raise Http404
    chart = overview_charts.performance(found)
    form = request.GET.get("format", "")
    if form == "svg":
        return HttpResponse(chart.svg)
    if form:
        columns = [Column(name, name) for name in chart.columns]
        rows = (dict(zip(chart.columns, row, strict=True)) for row in chart.rows())
        return exports.table_response(rows, columns, name=chart.key, form=form)
    return figure_response(chart.draw())


@login_required
@require_GET
def overview(request: PageRequest) -> HttpResponse:
    topics = [f"{name}:u{request.user.pk}" for name in ("jobs", "alerts")]
    heads = live.heads(*topics)
    at = now()
    jobs = figures.job_counts(request.user, at=at)
    runs = figures.recent_runs(request.user)
    trading = live_overview.live_overview(request.user)
    # What is stored matters to those who begin.
    market = None if trading else figures.market()
    context = {
        "at": at,
        "heads": heads,
        "market": market,
        "bars_note": f"{count(market.n_bars).text} bars" if market else "",
        "processes": figures.processes(at=at),
        "jobs": jobs,
        "jobs_note": f"{count(jobs.n_failed).text} failed in the last day",
        "run_columns": RUN_COLUMNS,
        "runs": runs,
        "live": trading,
        **_live_notes(trading),
        "live_columns": LIVE_COLUMNS,
        "alerts": live_overview.open_alerts(request.user) if trading else [],
        "performance": _performance(request.user) if trading else None,
        **_newest_result(figures.newest_result(request.user, runs)),
    }
    return render_page(request, "monitoring/overview.html", "monitoring/_overview.html", context)


def _performance(user: Any) -> Chart | None:
    found = live_performance.live_performance(user)
    return None if found is None else overview_charts.performance(found)


def _live_notes(trading: live_overview.LiveOverview | None) -> dict[str, Any]:
    if trading is None:
        return {}
    n_alerts = trading.n_alerts
    return {
        "n_alerts": n_alerts,
        "alerts_note": "Firing now" if n_alerts else "Nothing is firing",
        "newest_note": f"Closed at {instant(trading.newest_at)}" if trading.newest_at else "",
        "live_note": f"{trading.n_verified} verified, {trading.n_needing} to look at",
    }


def _newest_result(run: BacktestRun | None) -> dict[str, Any]:
    if run is None:
        return {"run": None}
    results = Results(run)
    return {"run": run, "equity": charts.equity(results), "months": charts.monthly(results)}
