"""The style guide: every component in every state, on one page for staff."""

from __future__ import annotations

import calendar
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now

from alphastrat.core import charts, previews
from alphastrat.core.access import Role, role_required
from alphastrat.core.models import Job, JobStatus
from alphastrat.core.statuses import CONNECTIONS, STATUSES
from alphastrat.core.tables import Column, read_order
from alphastrat.core.templatetags.components import BANNER_LEVELS, BUTTON_KINDS

N_POINTS = 500
START = datetime(2024, 11, 19, tzinfo=UTC)

COLUMNS = (
    Column("name", "Strategy", sort="name", link="url"),
    Column("status", "Status", "status"),
    Column("verification", "Verification", "status"),
    Column("day", "Day", "signed_percent", sort="day"),
    Column("month", "Month to date", "signed_percent", sort="month"),
    Column("sharpe", "Sharpe", "ratio", sort="sharpe"),
    Column("drawdown", "Drawdown", "signed_percent"),
    Column("equity", "Equity", "money"),
    Column("curve", "30 days", "html"),
    Column("signal_at", "Last signal", "time"),
)


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row of the sample table."""

    id: int
    name: str
    url: str
    status: str
    verification: str
    day: float | None
    month: float | None
    sharpe: float | None
    drawdown: float | None
    equity: float | None
    curve: str
    signal_at: datetime | None


class SampleForm(forms.Form):
    """One field of every kind; the values of the page make one of them wrong."""

    limit = forms.FloatField(
        label="Maximum drawdown", help_text="Alert when drawdown from peak exceeds this."
    )
    window = forms.IntegerField(
        label="Window", min_value=5, max_value=250, help_text="Rolling length of the measure."
    )
    timeframe = forms.ChoiceField(choices=[("1d", "1 day"), ("1h", "1 hour")])
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    version = forms.CharField(disabled=True, initial="v14, set by the strategy", required=False)
    enabled = forms.BooleanField(label="Check this rule", required=False)
    side = forms.ChoiceField(
        label="Direction",
        choices=[("above", "Above"), ("below", "Below")],
        widget=forms.RadioSelect,
    )


class SampleFilter(forms.Form):
    """The filter bar's form."""

    q = forms.CharField(label="Name", required=False)
    status = forms.ChoiceField(
        label="Status", required=False, choices=[("", "Any"), ("active", "Active")]
    )


@role_required(Role.ADMIN)
def styleguide(request: HttpRequest) -> HttpResponse:
    """Show the components, or answer the sample chart's figure."""
    if request.GET.get("figure"):
        return charts.figure_response(sample_figure(request.GET["figure"]))
    context = {
        "columns": COLUMNS,
        "page": Paginator(sample_rows(), 5).get_page(request.GET.get("page")),
        "order": read_order(request, COLUMNS, default="-sharpe"),
        "statuses": list(STATUSES),
        "connections": list(CONNECTIONS),
        "button_kinds": BUTTON_KINDS,
        "banner_levels": list(BANNER_LEVELS),
        "jobs": sample_jobs(at=now()),
        "form": SampleForm({"limit": "15", "window": "2", "timeframe": "1d", "side": "below"}),
        "filter_form": SampleFilter(request.GET or None),
        "preview": previews.svg_preview({"backtest": _wave(0.0), "live": _wave(0.3)}),
        "spark": previews.sparkline(_wave(0.5)[:30]),
        "tabs": [("Performance", "?", True), ("Signals", "?", False, 42), ("Trades", "?", False)],
        "now": now(),
    }
    return render(request, "core/styleguide.html", context)


def sample_rows() -> list[SampleRow]:
    names = (
        "RSI mean reversion",
        "MACD momentum",
        "Bollinger breakout",
        "Cross-sectional reversal",
    )
    states = (("active", "pass"), ("degraded", "warn"), ("failed", "fail"), ("paused", "not_run"))
    rows = []
    for number in range(12):
        status, verification = states[number % 4]
        undefined = number == 3
        rows.append(
            SampleRow(
                id=number,
                name=names[number % 4] + (f" {number // 4 + 1}" if number >= 4 else ""),
                url="?",
                status=status,
                verification=verification,
                day=None if undefined else (0.0042, -0.0061, -0.0123)[number % 3],
                month=0.0 if undefined else (0.0131, -0.0214, 0.0072)[number % 3],
                sharpe=None if undefined else (1.42, 0.38, -0.44)[number % 3],
                drawdown=-0.062 - number / 100,
                equity=102_345.6 * (1 + number / 10),
                curve=previews.sparkline(_wave(number)[:30], role="live"),
                signal_at=None if undefined else START + timedelta(days=number, hours=20),
            )
        )
    return rows


def sample_jobs(*, at: datetime) -> list[Job]:
    """Return unsaved jobs in every state."""
    started = at - timedelta(seconds=31)
    common: dict[str, Any] = {"task": "styleguide", "title": "Backtest RSI mean reversion"}
    states: list[dict[str, Any]] = [
        {"status": JobStatus.QUEUED},
        {"status": JobStatus.RUNNING, "started_at": started, "step": "Reading bars"},
        {"status": JobStatus.RUNNING, "started_at": started, "done": 42, "total": 120}
        | {"step": "Simulating MSFT"},
        {"status": JobStatus.SUCCEEDED, "started_at": started, "finished_at": at}
        | {"done": 120, "total": 120, "result_url": "?"},
        {"status": JobStatus.FAILED, "started_at": started, "finished_at": at, "done": 61}
        | {"total": 120, "step": "Simulating TSLA", "error": "The series has 12 bars; 28 needed."},
        {"status": JobStatus.CANCELLED, "started_at": started, "finished_at": at}
        | {"done": 7, "total": 120},
    ]
    return [Job(id=UUID(int=number + 1), **common, **state) for number, state in enumerate(states)]


def sample_figure(name: str) -> charts.Figure:
    """Return the sample figure `name`: lines, bars or heat."""
    days = [START + timedelta(days=number) for number in range(N_POINTS)]
    if name == "bars":
        values = [math.sin(number / 3) / 50 for number in range(60)]
        drawn = charts.columns(days[:60], values, name="Daily return", role="pnl")
        return charts.figure([drawn], panels=[charts.Panel("Return", "percent")])
    if name == "heat":
        cells = [[math.sin(row * 5 + month) / 20 for month in range(12)] for row in range(4)]
        texts = [[f"{value:+.1%}".replace("-", "\u2212") for value in row] for row in cells]
        months = list(calendar.month_abbr)[1:]
        years = ["2023", "2024", "2025", "2026"]
        traces = [charts.heatmap(months, years, cells, name="Monthly return", texts=texts)]
        return charts.figure(traces, time_axis=False, row_labels=True)
    return _equity_figure(days)


def _equity_figure(days: list[datetime]) -> charts.Figure:
    backtest, live = _wave(0.0), _wave(0.3)
    peaks = [max(live[: number + 1]) for number in range(N_POINTS)]
    underwater = [value / peak - 1 for value, peak in zip(live, peaks, strict=True)]
    low, high = [value * 0.95 for value in backtest], [value * 1.05 for value in backtest]
    lines = [
        charts.line(days, backtest, name="Backtest", role="backtest"),
        charts.line(days, live, name="Live", role="live"),
    ]
    return charts.figure(
        [
            *charts.band(days, low, high, name="Expected range"),
            *lines,
            charts.line(days, underwater, name="Drawdown", role="drawdown", panel=2, fill=True),
        ],
        panels=[
            charts.Panel("Equity, start 100", "ratio", weight=3),
            charts.Panel("Drawdown", "percent"),
        ],
        shapes=[charts.time_mark(days[N_POINTS // 2], "Live since")],
    )


def _wave(phase: float) -> list[float]:
    return [
        100 + number * 0.05 + 6 * math.sin(number / 40 + phase) + 2 * math.sin(number / 3.7 + phase)
        for number in range(N_POINTS)
    ]
