"""P&L of a portfolio: cards, curve, sessions, and what each strategy brought."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from alphastrat.core import exports, live
from alphastrat.core.charts import figure_response
from alphastrat.core.formatting import day
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from portfolio import performance_charts
from portfolio.services.portfolio_performance import (
    Performance,
    Period,
    Stay,
    attribution,
    load_performance,
)
from portfolio.views.chosen import chosen_portfolio, portfolio_choices

LARGEST = 12
LINES_PER_PAGE = 25
ATTRIBUTION_EXPORTS = (
    Column("name", "Strategy", link="href"),
    Column("pnl", "Result", "signed_money"),
    Column("share", "Of all movement", "signed_percent"),
    Column("realised", "Realised", "signed_money"),
    Column("unrealised", "Unrealised", "signed_money"),
    Column("commission", "Commission", "money"),
    Column("other", "Other income", "signed_money"),
    Column("opening", "Opening equity", "money"),
    Column("net_flow", "Capital in", "signed_money"),
    Column("closing", "Closing equity", "money"),
    Column("left_at", "Left", "time"),
)
# Where capital started and what came is in the file: the page has what adds up.
FILE_ONLY = ("opening", "net_flow", "share", "left_at")
ATTRIBUTION_COLUMNS = tuple(column for column in ATTRIBUTION_EXPORTS if column.key not in FILE_ONLY)
SESSION_COLUMNS = tuple(
    Column(key, key) for key in ("day", "pnl", "net_flow", "equity", "session_return", "drawdown")
)


@login_required
@require_GET
def portfolio_performance(request: PageRequest) -> HttpResponseBase:
    """Show what a portfolio earned."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        return render_page(request, "portfolio/performance.html", "portfolio/_performance.html", {})
    topic = f"portfolio:{portfolio.pk}"
    heads = live.heads(topic)
    performance = load_performance(portfolio)
    form = request.GET.get("format")
    if form and request.GET.get("table") == "sessions":
        rows: list[dict[str, Any]] = sessions(performance)
        return exports.table_response(rows, SESSION_COLUMNS, name="sessions", form=form)
    period = _period(request)
    found = attribution(performance, period)
    lines = [_row(line.result, line.share) for line in found.lines]
    if form:
        return exports.table_response(lines, ATTRIBUTION_EXPORTS, name="attribution", form=form)
    total = _row(found.total, None) | {"name": "Portfolio", "href": ""}
    page = Paginator(lines, LINES_PER_PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "portfolio": portfolio,
        "portfolios": portfolio_choices(request),
        "performance": performance,
        "equity": performance.equity[-1] if performance.equity else None,
        "cards": [
            {
                "label": one.label,
                "pnl": performance.pnl(one) if performance.days else None,
                "value": performance.period_return(one),
            }
            for one in Period
        ],
        "measures": performance.measures,
        "periods": [
            (one.label, f"?portfolio={portfolio.pk}&period={one}", one is period) for one in Period
        ],
        "columns": ATTRIBUTION_COLUMNS,
        "rows": [*page.object_list, total] if lines else [],
        "page": page,
        "caption": performance_charts.equity_words(performance),
        "svg": performance_charts.equity_preview(performance) if len(performance.days) > 1 else "",
        "topic": topic,
        "heads": heads,
    }
    return render_page(
        request, "portfolio/performance.html", "portfolio/_performance.html", context
    )


@login_required
@require_GET
def performance_chart(request: PageRequest, chart: str) -> HttpResponseBase:
    """Answer a figure of the P&L page."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        raise Http404
    performance = load_performance(portfolio)
    if chart == "equity":
        return figure_response(performance_charts.equity_figure(performance))
    if chart != "attribution":
        raise Http404
    found = attribution(performance, _period(request))
    shown = sorted(found.lines, key=lambda line: -abs(line.result.pnl))[:LARGEST]
    rest = found.total.pnl - sum(line.result.pnl for line in shown)
    names = [line.result.key.name for line in shown]
    values = [float(line.result.pnl) for line in shown]
    if len(found.lines) > LARGEST:
        names, values = [*names, "All others"], [*values, float(rest)]
    figure = performance_charts.attribution_figure(names, values, float(found.total.pnl))
    return figure_response(figure)


def sessions(performance: Performance) -> list[dict[str, Any]]:
    """Return one row per session, oldest first."""
    columns = (performance.equity, performance.returns, performance.drawdowns)
    return [
        {
            "day": one.day,
            "pnl": one.pnl,
            "net_flow": one.capital,
            "equity": equity,
            "session_return": float(gained),
            "drawdown": float(depth),
        }
        for one, equity, gained, depth in zip(performance.history.days, *columns, strict=True)
    ]


def _period(request: PageRequest) -> Period:
    wanted = request.GET.get("period", "")
    return Period(wanted) if wanted in set(Period) else Period.ALL


def _row(result: Any, share: Any) -> dict[str, Any]:
    stay = result.key
    names = ("pnl", "realised", "unrealised", "commission", "other", "opening", "net_flow")
    return {name: getattr(result, name) for name in (*names, "closing")} | {
        "share": share,
        "name": "" if stay is None else _name(stay),
        "href": "" if stay is None else stay.url,
        "left_at": None if stay is None else stay.left_at,
    }


def _name(stay: Stay) -> str:
    return stay.name if stay.left_at is None else f"{stay.name} (former, left {day(stay.left_at)})"
