"""A backtest as a PDF tear sheet: the numbers and words of its page."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial

import numpy as np
import pandas as pd
from django.http import HttpResponse

from alphastrat.core.formatting import (
    Formatted,
    count,
    day,
    instant,
    money,
    percent,
    ratio,
    signed_percent,
    signed_ratio,
)
from alphastrat.core.pdf import Card, Document, Line, pdf_response
from alphastrat.quant.types import BoolArray, FloatArray
from strategies.charts import MONTHS, drawdown_words, equity_words
from strategies.luck_charts import bands, bars_words, costs, looks_words
from strategies.models import BacktestRun
from strategies.services.examination import (
    newest_sweep_of,
    newest_walk_forward_of,
    sharpe_evidence,
)
from strategies.services.results import Results
from strategies.views import result_tables


def report_response(results: Results, *, at: datetime) -> HttpResponse:
    """Answer the tear sheet, to be saved."""
    name = f"backtest-{str(results.run.pk)[:8]}"
    return pdf_response(backtest_report(results, at=at), name=name)


def backtest_report(results: Results, *, at: datetime) -> bytes:
    """Return the tear sheet of a run that has succeeded."""
    run = results.run
    document = Document(run.title, _subtitle(results), at=at)
    document.cards(headline_cards(results))
    if BacktestRun.objects.filter(pk=run.pk).on_restated_bars().exists():
        document.paragraph("Bars of this run have been restated since it was computed.")
    _findings(document, run)
    _curves(document, results)
    _months(document, results)
    _drawdowns(document, run)
    _luck(document, results)
    _settings(document, run)
    document.heading("All metrics", room=60)
    document.table(
        ("Metric", "Strategy", "Buy and hold"),
        [(one.label, one.own, one.held or "") for one in result_tables.metrics_of(results)],
    )
    return document.output()


def headline_cards(results: Results) -> list[Card]:
    """Return the headline numbers of the page, with what buying and holding came to."""
    run, held = results.run, results.benchmark_numbers
    compared = (
        ("Total return", "total_return", signed_percent, percent),
        ("Annual return", "annual_return", signed_percent, percent),
        ("Sharpe ratio", "sharpe_ratio", signed_ratio, ratio),
        ("Max drawdown", "max_drawdown", signed_percent, percent),
    )
    return [
        *(
            Card(label, own(getattr(run, name)), _against(other(held.get(name))))
            for label, name, own, other in compared
        ),
        Card("Win rate", percent(run.win_rate, 1)),
        Card("Profit factor", ratio(run.profit_factor)),
        Card("Round trips", count(run.n_trades)),
        Card("Time in market", percent(run.exposure, 1)),
    ]


def by_day(
    times: pd.DatetimeIndex, drawdowns: FloatArray
) -> tuple[list[date], BoolArray, FloatArray]:
    """Return the days of a run, which bars close each, and how low each went.

    Parameters
    ----------
    times : DatetimeIndex of length n_bars
        Closes, ascending.
    drawdowns : ndarray of shape (n_bars,)
        Fractions <= 0.

    Returns
    -------
    days : list of date, length n_days
    is_last : ndarray of bool, shape (n_bars,)
    lowest : ndarray of shape (n_days,)
        The deepest drawdown at any close of the day.
    """
    # A bar that closes at midnight belongs to the day that ends.
    closed = (times - pd.Timedelta(1, "us")).normalize()
    is_last = ~closed.duplicated(keep="last")
    first = np.flatnonzero(~closed.duplicated())
    lowest = np.fmin.reduceat(drawdowns, first) if len(first) else drawdowns
    return [one.date() for one in closed[is_last]], is_last, lowest


def _against(held: Formatted) -> str:
    return "" if held.value is None else f"Buy and hold {held}"


def _subtitle(results: Results) -> str:
    run = results.run
    return (
        f"{result_tables.period_of(run)}, {len(results.times):,} bars; computed "
        f"{instant(run.finished_at)}. Amounts in {run.currency}."
    )


def _findings(document: Document, run: BacktestRun) -> None:
    document.heading("What is wrong with this backtest?")
    if run.findings:
        document.facts([(one["severity"].capitalize(), one["text"]) for one in run.findings])
    else:
        document.paragraph("Nothing was found: which is not a proof that nothing is wrong.")


def _curves(document: Document, results: Results) -> None:
    curves = results.curves
    days, is_last, lowest = by_day(results.times, results.drawdowns)
    if len(days) < 2:
        return
    document.heading("Equity against benchmark, and underwater", room=115)
    worth = [Line("Strategy", "equity", curves.equity[is_last].tolist())]
    below = [Line("Below peak", "drawdown", lowest.tolist(), fill=True)]
    held = results.benchmark_drawdowns
    if held is not None:
        worth.insert(0, Line("Buy and hold", "benchmark", curves.benchmark[is_last].tolist()))
        fell = by_day(results.times, held)[2]
        below.append(Line("Buy and hold", "benchmark", fell.tolist()))
    axis = partial(money, currency=results.run.currency, places=0)
    document.chart(days, worth, height=60, ticks=axis, has_dates=False)
    document.chart(days, below, height=34, ticks=partial(percent, places=0))
    document.paragraph(f"{equity_words(results)} {drawdown_words(results)}")


def _months(document: Document, results: Results) -> None:
    years, table = results.monthly_returns()
    document.heading("Monthly returns")
    document.table(
        ("Year", *MONTHS, "Year"),
        [
            (str(year), *(percent(value, 1) if np.isfinite(value) else "" for value in row))
            for year, row in zip(years[::-1], table[::-1], strict=True)
        ],
    )


def _drawdowns(document: Document, run: BacktestRun) -> None:
    document.heading("Worst drawdowns", room=50)
    rows = result_tables.drawdown_rows(run)
    if not rows:
        document.paragraph("The account never fell below an earlier peak.")
        return
    document.table(
        [column.label for column in result_tables.DRAWDOWN_COLUMNS],
        [
            (
                percent(row["depth"]),
                day(row["peak_at"]),
                day(row["trough_at"]),
                row["recovered"],
                count(row["bars"]),
            )
            for row in rows
        ],
    )


def _luck(document: Document, results: Results) -> None:
    run, luck = results.run, results.run.luck or {}
    document.heading("Is it luck?", room=60)
    rows = _evidence(results)
    if not rows:
        document.paragraph("The account never moved, so there is nothing to judge.")
    if run.engine != BacktestRun.Engine.IMPORTED:
        rows += _searches(run)
    rows += [
        (chart.title, chart.caption)
        for key, build in (("bars", bands), ("costs", costs))
        if luck.get(key) and (chart := build(results))
    ]
    if rows:
        document.facts(rows)
    if crises := result_tables.crisis_rows(run):
        document.heading("Crises inside the period")
        document.table(
            [column.label for column in result_tables.CRISIS_COLUMNS],
            [
                (
                    row["name"],
                    day(row["starts_on"]),
                    day(row["ends_on"]),
                    signed_percent(row["total_return"]),
                    signed_percent(row["max_drawdown"]),
                )
                for row in crises
            ],
        )


def _evidence(results: Results) -> list[tuple[str, str]]:
    evidence = sharpe_evidence(results)
    if evidence is None:
        return []
    return [
        (
            "Deflated Sharpe",
            _said(
                percent(evidence["deflated"], 1),
                looks_words(evidence),
                reason="How often its author looked is not known.",
            ),
        ),
        (
            "Probabilistic Sharpe",
            _said(percent(evidence["probabilistic"], 1), "that the true ratio is above zero"),
        ),
        (
            "Sharpe of pure luck",
            _said(
                ratio(evidence["luck"]),
                "the best of that many trials without any skill",
                reason="It needs the number of trials.",
            ),
        ),
        (
            "Bars needed",
            _said(
                count(evidence["minimum_bars"]),
                bars_words(evidence),
                reason="No length suffices: the Sharpe ratio is not positive.",
            ),
        ),
    ]


def _searches(run: BacktestRun) -> list[tuple[str, str]]:
    sweep, analysis = newest_sweep_of(run), newest_walk_forward_of(run)
    none = "of this strategy, timeframe and universe has been made."
    return [
        (
            "Probability of overfitting",
            _said(
                percent(sweep.overfitting_probability if sweep else None, 0),
                "in the newest sweep of this hypothesis; 10% or less is good",
                reason=f"No sweep {none}",
            ),
        ),
        (
            "Walk-forward efficiency",
            _said(
                percent(analysis.efficiency if analysis else None, 0),
                "of the newest walk-forward of this hypothesis; 50% or more passes",
                reason="No fold earned anything in sample."
                if analysis
                else f"No walk-forward {none}",
            ),
        ),
    ]


def _said(shown: Formatted, note: str, *, reason: str = "") -> str:
    return f"{shown}, {note}" if shown.value is not None else reason


def _settings(document: Document, run: BacktestRun) -> None:
    document.heading("Settings", room=60)
    document.facts(result_tables.settings_of(run))
    is_ours = run.engine != BacktestRun.Engine.IMPORTED
    document.heading("To compute it again" if is_ours else "Where it comes from", room=45)
    rows = result_tables.provenance_of(run)
    if run.agreement:
        rows.append(("Second engine", run.agreement["explanation"]))
    document.facts(rows)
