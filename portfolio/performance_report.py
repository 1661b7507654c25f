"""The P&L page as a PDF: the same numbers, in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from django.http import HttpResponse

from alphastrat.core import formatting
from alphastrat.core.formatting import (
    MISSING,
    Formatted,
    count,
    day,
    instant,
    money,
    percent,
    ratio,
    signed_money,
    signed_percent,
    signed_ratio,
)
from alphastrat.core.pdf import Card, Document, Line, pdf_response
from alphastrat.core.tables import Column
from portfolio import performance_charts, performance_tables
from portfolio.performance_calendar import MONTHS, month_table
from portfolio.services.instrument_results import by_instrument
from portfolio.services.portfolio_performance import Performance, Period, attribution

N_SESSIONS = 20
N_STRATEGIES = 40


def performance_report(performance: Performance, period: Period, *, at: datetime) -> bytes:
    """Return a portfolio's result as a PDF."""
    portfolio = performance.portfolio
    document = Document(f"P&L of {portfolio.name}", _subtitle(performance), at=at)
    document.cards(headline_cards(performance))
    if len(performance.days) > 1:
        _curves(document, performance)
        _months(document, performance)
    _by_strategy(document, performance, period)
    _by_instrument(document, performance, period)
    _sessions(document, performance)
    return document.output()


def report_response(performance: Performance, period: Period, *, at: datetime) -> HttpResponse:
    """Answer the report, to be saved."""
    content = performance_report(performance, period, at=at)
    return pdf_response(content, name=f"profit-and-loss-{performance.last_day or 'empty'}")


def headline_cards(performance: Performance) -> list[Card]:
    """Return the headline numbers of the page."""
    currency, measures = performance.portfolio.currency, performance.measures
    equity = performance.equity[-1] if performance.equity else None
    cards = [Card("Equity", money(equity, currency, places=0))]
    for period in Period:
        pnl = performance.pnl(period) if performance.days else None
        words = (_made(performance, period), performance_charts.compared(performance, period))
        note = "; ".join(filter(None, words))
        cards.append(Card(period.label, signed_money(pnl, currency, places=0), note))
    cards.append(Card("Sharpe ratio", signed_ratio(measures.get("sharpe_ratio"))))
    cards.append(Card("Max drawdown", signed_percent(measures.get("max_drawdown"))))
    if performance.benchmark is not None:
        against = performance.against
        error = percent(against.get("tracking_error"))
        cards.append(Card("Beta", ratio(against.get("beta")), f"Tracking error {error}"))
    return cards


def session_summary(performance: Performance) -> list[tuple[str, Formatted | str]]:
    """Return what the sessions have in common, as names and values."""
    currency = performance.portfolio.currency
    days = performance.history.days
    if not days:
        return []
    amounts = np.array([float(one.pnl) for one in days])
    gains, losses = amounts[amounts > 0], amounts[amounts < 0]
    best, worst = days[int(amounts.argmax())], days[int(amounts.argmin())]
    shown = partial(signed_money, currency=currency)
    return [
        ("Sessions", count(len(days))),
        ("With a profit", f"{count(len(gains))} ({percent(len(gains) / len(days), 1)})"),
        ("With a loss", f"{count(len(losses))} ({percent(len(losses) / len(days), 1)})"),
        ("Mean profit of those with one", shown(gains.mean() if len(gains) else None)),
        ("Mean loss of those with one", shown(losses.mean() if len(losses) else None)),
        (f"Best, {day(best.day)}", shown(best.pnl)),
        (f"Worst, {day(worst.day)}", shown(worst.pnl)),
        (
            "Capital in, with accounts that joined",
            money(sum(one.capital for one in days), currency),
        ),
    ]


def _made(performance: Performance, period: Period) -> str:
    made = performance.period_return(period)
    return "" if made is None else str(signed_percent(made))


def _subtitle(performance: Performance) -> str:
    if not performance.days:
        return "No session has been marked yet."
    first, last = performance.days[0], performance.days[-1]
    return (
        f"{day(first)} to {day(last)}, {len(performance.days)} sessions; newest mark "
        f"{instant(performance.marked_at)}. Amounts in {performance.portfolio.currency}."
    )


def _curves(document: Document, performance: Performance) -> None:
    currency, days = performance.portfolio.currency, performance.days
    axis = partial(money, currency=currency, places=0)
    document.heading("Equity, P&L and drawdown", room=110)
    lines = [Line("Equity", "equity", [float(one) for one in performance.equity])]
    if performance.benchmark is not None and performance.in_benchmark is not None:
        name = f"Same capital in {performance.benchmark.label}"
        lines.append(Line(name, "benchmark", performance.in_benchmark.tolist()))
    document.chart(days, lines, height=52, ticks=axis, has_dates=False)
    pnl = np.cumsum([float(one.pnl) for one in performance.history.days])
    document.chart(
        days, [Line("P&L so far", "pnl", pnl.tolist())], height=26, ticks=axis, has_dates=False
    )
    below = Line("Below peak", "drawdown", list(performance.drawdowns), fill=True)
    document.chart(days, [below], height=22, ticks=partial(percent, places=1))
    document.paragraph(performance_charts.equity_words(performance))


def _months(document: Document, performance: Performance) -> None:
    rows = month_table(performance.days, performance.returns, chosen=(0, 0), base="")
    document.heading("Months", "Return, capital that came or left not counted")
    document.table(
        ("Year", *MONTHS, "Year"),
        [
            (str(row["year"]), *(_plain(cell) for cell in row["cells"]), row["total"])
            for row in rows
        ],
    )


def _plain(cell: Any) -> Formatted:
    # Twelve columns have no room for an arrow: the sign is there.
    return Formatted(cell.shown.value, cell.shown.text)


def _by_strategy(document: Document, performance: Performance, period: Period) -> None:
    found = attribution(performance, period)
    rows = performance_tables.strategy_rows(found)
    document.heading("By strategy", _period_words(period))
    if not rows:
        document.paragraph("No strategy of this portfolio has an account that was marked.")
        return
    total = performance_tables.total_row(found)
    _table(
        document, performance_tables.ATTRIBUTION_COLUMNS, [*rows[:N_STRATEGIES], total], performance
    )
    if len(rows) > N_STRATEGIES:
        rest = len(rows) - N_STRATEGIES
        document.paragraph(f"The best {N_STRATEGIES} are shown; {rest} more are in the files.")


def _by_instrument(document: Document, performance: Performance, period: Period) -> None:
    rows = performance_tables.instrument_rows(by_instrument(performance, period))
    document.heading("By instrument", _period_words(period))
    if not rows:
        document.paragraph("Nothing was made or lost with an instrument in this period.")
        return
    _table(document, performance_tables.INSTRUMENT_COLUMNS, rows, performance)


def _sessions(document: Document, performance: Performance) -> None:
    summary = session_summary(performance)
    if not summary:
        return
    document.heading("Sessions", room=60)
    document.table(("Of all", ""), summary)
    rows = performance_tables.sessions(performance)[-N_SESSIONS:]
    currency = performance.portfolio.currency
    document.heading(f"The newest {len(rows)} sessions")
    document.table(
        ("Session", "P&L", "Return", "Benchmark", "Capital in", "Equity", "Below peak"),
        [
            (
                day(row["day"]),
                signed_money(row["pnl"], currency),
                signed_percent(row["session_return"]),
                signed_percent(row["benchmark_return"]),
                money(row["net_flow"], currency),
                money(row["equity"], currency),
                percent(row["drawdown"]),
            )
            for row in reversed(rows)
        ],
    )


def _table(
    document: Document,
    columns: Sequence[Column],
    rows: Sequence[dict[str, Any]],
    performance: Performance,
) -> None:
    currency = performance.portfolio.currency
    document.table(
        [column.label for column in columns],
        [[_cell(row[column.key], column, currency) for column in columns] for row in rows],
        has_total=True,
    )


def _cell(value: Any, column: Column, currency: str) -> Formatted | str:
    if not column.is_number:
        return str(value or MISSING)
    options = {"currency": currency} if column.format.endswith("money") else {}
    return formatting.format_value(column.format, value, **options)


def _period_words(period: Period) -> str:
    return f"{period.label}; the lines add up to the portfolio's result."
