"""The verification of a strategy as a PDF: the same numbers, in the same words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.http import HttpResponse

from alphastrat.core.charts import Chart
from alphastrat.core.formatting import (
    MISSING,
    Formatted,
    count,
    instant,
    percent,
    ratio,
    signed_percent,
    signed_points,
    signed_ratio,
)
from alphastrat.core.pdf import Card, Document, Line, pdf_response
from alphastrat.core.statuses import STATUSES
from monitoring.models import Expectation, Verification, VerificationTransition
from monitoring.quant import status
from monitoring.quant.checks import Check, evidence_text
from monitoring.services.live_parts import LiveFigures, LiveParts, live_figures, live_parts
from monitoring.services.performance_validator import Examined, examine
from monitoring.verification_charts import envelope, evidence
from monitoring.verification_tables import written
from strategies.models import Strategy

N_TRANSITIONS = 12
CHECK_HEADINGS = ("Check", "State", "Observed", "Promised", "E")
PART_HEADINGS = ("Part", "Difference", "From", "To", "Moved by", "Checks")


def report_response(strategy: Strategy, *, at: datetime) -> HttpResponse:
    """Answer the report, to be saved."""
    content = verification_report(strategy, at=at)
    return pdf_response(content, name=f"verification-{strategy.pk}-{at:%Y-%m-%d}")


def verification_report(strategy: Strategy, *, at: datetime) -> bytes:
    """Return why a strategy stands as it does, as a PDF."""
    stored = Verification.objects.filter(strategy=strategy).first()
    verification = stored or Verification(strategy=strategy)
    found = examine(strategy.pk, at=at)
    moved = live_parts(found)
    document = Document(f"Verification of {strategy.name}", _subtitle(verification), at=at)
    document.paragraph(verification.reason or "Not judged yet.")
    figures = live_figures(found) if len(found.times) else None
    document.cards(_cards(verification, figures, moved))
    _envelope(document, found)
    _parts(document, moved)
    _checks(document, found.checks)
    _evidence(document, found, verification)
    _promise(document, strategy)
    _history(document, strategy)
    return document.output()


def promised(check: Check) -> str:
    """Return the interval that a check expects its value in."""
    low, high = (written(check.key, check.unit, end) for end in (check.low, check.high))
    if low and high:
        return f"{low} to {high}"
    if low:
        return f"at least {low}"
    return f"at most {high}" if high else MISSING


def _subtitle(verification: Verification) -> str:
    verdict = verification.get_status_display()
    if verification.observed_to is None:
        return f"{verdict}; no live bar yet."
    return (
        f"{verdict}; {count(verification.n_bars)} live bars up to "
        f"{instant(verification.observed_to)}."
    )


def _cards(
    verification: Verification, figures: LiveFigures | None, moved: LiveParts | None
) -> list[Card]:
    coverage = percent(verification.coverage, 0)
    cards = [
        Card("Verdict", Formatted(None, verification.get_status_display())),
        Card("Health", count(verification.score), f"{coverage} of its weight has data"),
        Card(
            "Evidence E",
            Formatted(verification.e_value, evidence_text(verification.e_value)),
            f"Degraded from {status.DEGRADED_E:.0f}",
        ),
        Card("Round trips", count(verification.n_trades)),
    ]
    if figures is None:
        return cards
    parts = moved.parts if moved else None
    return [
        *cards,
        Card(
            "Live return",
            signed_percent(parts.live if parts else None),
            f"Promised {signed_percent(parts.promised if parts else None)}",
        ),
        Card(
            "Live Sharpe ratio",
            signed_ratio(figures.sharpe),
            f"Promised {ratio(figures.promised_sharpe)}",
        ),
        Card(
            "Live drawdown, deepest",
            signed_percent(figures.max_drawdown),
            f"Once in 20 years {signed_percent(figures.worst_promised)}",
        ),
        Card("Live profit factor", ratio(figures.profit_factor), figures.profit_note),
    ]


def _envelope(document: Document, found: Examined) -> None:
    chart = envelope(found)
    lines = (
        ("live", "Live", "live"),
        ("expected", "Expected", "backtest"),
        ("low_95", "95 % of healthy paths, lower", "limit"),
        ("high_95", "upper", "limit"),
    )
    _figure(document, chart, lines, ticks=ratio)


def _evidence(document: Document, found: Examined, verification: Verification) -> None:
    lines = (("e_value", "Evidence of all checks, logarithmic", "live"),)
    _figure(document, evidence(found), lines, ticks=_power_of_ten, shown=math.log10)
    document.paragraph(
        f"The evidence counts {count(len(found.times))} bars, under a budget of "
        f"{ratio(verification.false_alarms_per_year)} false alarms a year."
    )


def _figure(
    document: Document,
    chart: Chart,
    lines: Sequence[tuple[str, str, str]],
    *,
    ticks: Callable[[float], Any],
    shown: Callable[[float], float] = float,
) -> None:
    """Draw the lines of a chart of the page, each as column, name and role."""
    document.heading(chart.title, room=70)
    # The newest bar of each day: a page is not wide enough for more.
    rows = list({row[0].date(): row for row in chart.rows()}.items())
    if len(rows) > 1:
        place = {name: number for number, name in enumerate(chart.columns)}
        document.chart(
            [day for day, _ in rows],
            [
                Line(name, role, [shown(row[place[column]]) for _, row in rows])
                for column, name, role in lines
            ],
            height=48,
            ticks=ticks,
        )
    document.paragraph(chart.caption)


def _parts(document: Document, moved: LiveParts | None) -> None:
    document.heading("Which part moved", "Live less promise is execution and edge")
    if moved is None:
        document.paragraph("Known once the shadow has run.")
        return
    document.paragraph(moved.sentence)
    document.table(
        PART_HEADINGS,
        [
            (
                part.label,
                part.meaning,
                signed_percent(part.before),
                signed_percent(part.after),
                signed_points(part.difference),
                STATUSES[part.state].word,
            )
            for part in moved.rows
        ],
    )


def _checks(document: Document, checks: Sequence[Check]) -> None:
    document.heading("Checks", "What was observed, and the interval that was promised", room=70)
    document.table(
        CHECK_HEADINGS,
        [
            (
                check.label,
                STATUSES[check.state].word,
                written(check.key, check.unit, check.value) or MISSING,
                promised(check),
                evidence_text(check.e_value),
            )
            for check in checks
        ],
    )
    for check in checks:
        document.paragraph(f"{check.label}: {check.text}")


def _promise(document: Document, strategy: Strategy) -> None:
    current = Expectation.objects.filter(strategy=strategy, is_current=True)
    expectation = current.defer("returns", "envelope").first()
    document.heading("What was promised")
    if expectation is None:
        document.paragraph("Nothing has been promised yet.")
        return
    sample = "out of sample" if expectation.is_out_of_sample else "in sample"
    document.paragraph(
        f"Frozen {instant(expectation.frozen_at)}, {sample}: {count(expectation.n_bars)} bars, "
        f"{count(expectation.n_trades)} round trips."
    )


def _history(document: Document, strategy: Strategy) -> None:
    document.heading("History of verdicts")
    mine = VerificationTransition.objects.filter(strategy=strategy)
    changes = mine.select_related("overridden_by")[:N_TRANSITIONS]
    for change in changes:
        person = f", by {change.overridden_by.username}" if change.overridden_by else ""
        document.paragraph(
            f"{instant(change.happened_at)}: {change.get_before_display()} to "
            f"{change.get_after_display().lower()}, E {evidence_text(change.e_value)}{person}. "
            f"{change.reason}"
        )
    if not changes:
        document.paragraph("No change yet.")


def _power_of_ten(exponent: float) -> str:
    return evidence_text(10.0**exponent)
