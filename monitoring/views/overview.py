"""The first page."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core import live
from alphastrat.core.formatting import count
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
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


@login_required
@require_GET
def overview(request: PageRequest) -> HttpResponse:
    topic = f"jobs:u{request.user.pk}"
    heads = live.heads(topic)
    at = now()
    market, jobs = figures.market(), figures.job_counts(request.user, at=at)
    runs = figures.recent_runs(request.user)
    context = {
        "at": at,
        "heads": {"jobs": heads[topic]},
        "market": market,
        "bars_note": f"{count(market.n_bars).text} bars",
        "processes": figures.processes(at=at),
        "jobs": jobs,
        "jobs_note": f"{count(jobs.n_failed).text} failed in the last day",
        "run_columns": RUN_COLUMNS,
        "runs": runs,
        **_newest_result(figures.newest_result(request.user, runs)),
    }
    return render_page(request, "monitoring/overview.html", "monitoring/_overview.html", context)


def _newest_result(run: BacktestRun | None) -> dict[str, Any]:
    if run is None:
        return {"run": None}
    results = Results(run)
    return {"run": run, "equity": charts.equity(results), "months": charts.monthly(results)}
