"""P&L of a portfolio: cards, curve, calendars, and what each strategy and instrument brought."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core import exports, live
from alphastrat.core.charts import figure_response
from alphastrat.core.http import PageRequest, render_page
from portfolio import performance_calendar, performance_charts, performance_tables
from portfolio.models import Portfolio
from portfolio.performance_report import report_response
from portfolio.services import benchmarks
from portfolio.services.instrument_results import by_instrument
from portfolio.services.portfolio_performance import (
    Performance,
    Period,
    attribution,
    load_performance,
)
from portfolio.views.chosen import chosen_portfolio, portfolio_choices

LINES_PER_PAGE = 25


@login_required
@require_GET
def portfolio_performance(request: PageRequest) -> HttpResponseBase:
    """Show what a portfolio earned."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        return render_page(request, "portfolio/performance.html", "portfolio/_performance.html", {})
    heads = live.heads(f"portfolio:{portfolio.pk}")
    performance = _performance(request, portfolio)
    if form := request.GET.get("format"):
        return _export(request, performance, form=form)
    context = {
        "portfolio": portfolio,
        "portfolios": portfolio_choices(request),
        "topic": f"portfolio:{portfolio.pk}",
        "heads": heads,
        "benchmarks": benchmarks.choices(_benchmark(request)),
        **_results(request, performance),
        **_attributions(request, performance),
        **_calendars(request, performance),
    }
    return render_page(
        request, "portfolio/performance.html", "portfolio/_performance.html", context
    )


@login_required
@require_GET
def performance_chart(request: PageRequest, chart: str) -> HttpResponseBase:
    """Answer a figure of the P&L page."""
    portfolio = chosen_portfolio(request)
    if portfolio is None or chart not in ("equity", "strategies", "instruments"):
        raise Http404
    performance, period = _performance(request, portfolio), _period(request)
    if chart == "equity":
        return figure_response(performance_charts.equity_figure(performance))
    if chart == "strategies":
        bars = performance_tables.strategy_bars(attribution(performance, period))
    else:
        bars = performance_tables.instrument_bars(by_instrument(performance, period))
    figure = performance_charts.attribution_figure(*bars, kind=chart)
    return figure_response(figure)


def _results(request: PageRequest, performance: Performance) -> dict[str, Any]:
    """Return the headline numbers and the curve."""
    return {
        "performance": performance,
        "equity": performance.equity[-1] if performance.equity else None,
        "cards": [
            {
                "label": one.label,
                "pnl": performance.pnl(one) if performance.days else None,
                "value": performance.period_return(one),
                "note": performance_charts.compared(performance, one),
            }
            for one in Period
        ],
        "measures": performance.measures,
        "against": performance.against,
        "benchmark": _benchmark(request),
        "period": _period(request),
        "state": _state(request, performance.portfolio),
        "caption": performance_charts.equity_words(performance),
        "svg": performance_charts.equity_preview(performance) if len(performance.days) > 1 else "",
    }


def _attributions(request: PageRequest, performance: Performance) -> dict[str, Any]:
    """Return what each strategy and each instrument brought in the period."""
    period = _period(request)
    found, instruments = attribution(performance, period), by_instrument(performance, period)
    lines = performance_tables.strategy_rows(found)
    page = Paginator(lines, LINES_PER_PAGE).get_page(request.GET.get("page"))
    words = performance_charts.attribution_words
    return {
        "periods": [
            (one.label, _state(request, performance.portfolio, period=one), one is period)
            for one in Period
        ],
        "total": found.total if lines else None,
        "has_former": any(line["left_at"] for line in lines),
        "columns": performance_tables.ATTRIBUTION_COLUMNS,
        "rows": [*page.object_list, performance_tables.total_row(found)] if lines else [],
        "page": page,
        "strategy_words": words(*performance_tables.strategy_bars(found), kind="strategies"),
        "instrument_columns": performance_tables.INSTRUMENT_COLUMNS,
        "instruments": performance_tables.instrument_rows(instruments),
        "instrument_words": words(
            *performance_tables.instrument_bars(instruments), kind="instruments"
        ),
    }


def _calendars(request: PageRequest, performance: Performance) -> dict[str, Any]:
    """Return the months of all years, and the sessions of the chosen month."""
    month = performance_calendar.chosen_month(request.GET.get("month", ""), performance.days)
    return {
        "months": performance_calendar.MONTHS,
        "weekdays": performance_calendar.WEEKDAYS,
        "years": performance_calendar.month_table(
            performance.days,
            performance.returns,
            chosen=month,
            base=_state(request, performance.portfolio),
        ),
        "month_label": performance_calendar.month_label(month),
        "weeks": performance_calendar.session_grid(
            {one.day: one.pnl for one in performance.history.days},
            month=month,
            currency=performance.portfolio.currency,
        ),
    }


def _benchmark(request: PageRequest) -> str:
    """Return what `?benchmark=` asks for; the portfolio's instruments where it asks for nothing."""
    return request.GET.get("benchmark", "") or benchmarks.UNIVERSE


def _period(request: PageRequest) -> Period:
    wanted = request.GET.get("period", "")
    return Period(wanted) if wanted in set(Period) else Period.ALL


def _state(request: PageRequest, portfolio: Portfolio, *, period: Period | None = None) -> str:
    """Return the query string of what is shown, for another period where one is given."""
    chosen = {"portfolio": portfolio.pk, "period": (period or _period(request)).value}
    return "?" + urlencode(chosen | {"benchmark": _benchmark(request)})


def _performance(request: PageRequest, portfolio: Portfolio) -> Performance:
    return load_performance(portfolio, benchmark=_benchmark(request))


def _export(request: PageRequest, performance: Performance, *, form: str) -> HttpResponseBase:
    rows: Any
    table, period = request.GET.get("table", "attribution"), _period(request)
    if form == "pdf":
        return report_response(performance, period, at=now())
    if table == "sessions":
        rows, columns = performance_tables.sessions(performance), performance_tables.SESSION_COLUMNS
    elif table == "months":
        rows, columns = performance_tables.months(performance), performance_tables.MONTH_COLUMNS
    elif table == "instruments":
        rows = by_instrument(performance, period)
        columns = performance_tables.INSTRUMENT_COLUMNS
    else:
        rows = performance_tables.strategy_rows(attribution(performance, period))
        table, columns = "attribution", performance_tables.ATTRIBUTION_EXPORTS
    return exports.table_response(rows, columns, name=table, form=form)
