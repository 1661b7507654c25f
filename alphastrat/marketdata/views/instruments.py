"""Pages of instruments and their bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pandas as pd
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core.charts import MAX_BARS, figure_response
from alphastrat.core.exports import table_response
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, query_url, read_order
from alphastrat.marketdata.chart_additions import additions
from alphastrat.marketdata.charts import price_figure, price_preview
from alphastrat.marketdata.forms import TIMEFRAMES, InstrumentFilter, with_market_data
from alphastrat.marketdata.models import (
    Adjustment,
    BarRevision,
    CorporateAction,
    Instrument,
    QualityFinding,
)
from alphastrat.marketdata.services.bar_views import (
    adjustments_of,
    stored_series,
    timeframes_of,
    view_bars,
)
from alphastrat.marketdata.services.instrument_facts import facts, listings
from alphastrat.quant.types import Timeframe

PER_PAGE = 50
FINDINGS_SHOWN = 50
RANGES = {"3M": 92, "6M": 183, "1Y": 366, "2Y": 731, "All": 0}

COLUMNS = (
    Column("symbol", "Symbol", sort="symbol", link="url"),
    Column("name", "Name", sort="name"),
    Column("sector", "Sector", sort="sector"),
    Column("exchange", "Exchange"),
    Column("close", "Close", format="price"),
    Column("change", "Change", format="signed_percent"),
    Column("change_60", "60 bars", format="signed_percent"),
    Column("spark", "Last 60 closes", format="html"),
    Column("n_bars", "Bars", format="count"),
    Column("last_closed_at", "Newest bar", format="day"),
    Column("n_findings", "Findings", format="count", sort="n_findings"),
)
# The exchange is on the instrument's own page; the list has room for what is compared.
LIST_COLUMNS = tuple(column for column in COLUMNS if column.key != "exchange")
BAR_COLUMNS = tuple(
    Column(name, name.title()) for name in ("closed_at", "open", "high", "low", "close", "volume")
)
FINDING_COLUMNS = (
    Column("get_kind_display", "Finding"),
    Column("detail", "What was found"),
    Column("start_at", "From", format="time"),
    Column("end_at", "To", format="time"),
    Column("n_bars", "Bars", format="count"),
    Column("series.source", "Source"),
)
ACTION_COLUMNS = (
    Column("ex_date", "Ex date", format="day"),
    Column("get_kind_display", "Action"),
    Column("split_ratio", "New per old share", format="ratio"),
    Column("cash_amount", "Cash per share", format="price"),
    Column("source", "Source"),
)
REVISION_COLUMNS = (
    Column("opened_at", "Bar", format="time"),
    Column("change_text", "What changed"),
    Column("recorded_at", "Recorded", format="time"),
)
SERIES_COLUMNS = (
    Column("timeframe", "Timeframe"),
    Column("get_adjustment_display", "Prices"),
    Column("source", "Source"),
    Column("bar_count", "Bars", format="count"),
    Column("first_opened_at", "First", format="day"),
    Column("last_closed_at", "Newest", format="day"),
    Column("revision", "Revision", format="count"),
)


@login_required
@require_GET
def instrument_list(request: PageRequest) -> HttpResponseBase:
    sectors = Instrument.objects.exclude(sector="").order_by("sector")
    form = InstrumentFilter(
        request.GET, sectors=list(sectors.values_list("sector", flat=True).distinct())
    )
    order = read_order(request, COLUMNS, default="symbol")
    found = form.apply(with_market_data(Instrument.objects.filter(is_active=True)))
    found = found.order_by(order.query_value, "symbol")
    if "format" in request.GET:
        exported = [column for column in COLUMNS if column.key != "spark"]
        return table_response(
            listings(list(found)), exported, name="instruments", form=request.GET["format"]
        )
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "columns": LIST_COLUMNS,
        "rows": listings(list(page)),
        "order": order,
        "page": page,
        "summary": _count_text(page.paginator.count),
        "is_filtered": any(request.GET.get(name) for name in form.fields),
    }
    return render_page(
        request, "marketdata/instrument_list.html", "marketdata/_instruments.html", context
    )


@dataclass(frozen=True)
class Asked:
    """How the page of an instrument was asked for; what makes no sense falls back."""

    instrument: Instrument
    query: Any

    @cached_property
    def timeframes(self) -> list[Timeframe]:
        return timeframes_of(self.instrument)

    @cached_property
    def timeframe(self) -> Timeframe:
        wanted = self.query.get("timeframe", "")
        known = {frame.value: frame for frame in self.timeframes}
        stored = [Timeframe(series.timeframe) for series in stored_series(self.instrument)]
        default = Timeframe.DAY_1 if Timeframe.DAY_1 in self.timeframes else None
        return known.get(wanted) or default or stored[0]

    @cached_property
    def adjustments(self) -> list[str]:
        return adjustments_of(self.instrument)

    @property
    def adjustment(self) -> str:
        wanted = self.query.get("adjustment", "")
        if wanted in self.adjustments:
            return str(wanted)
        return Adjustment.SPLIT if Adjustment.SPLIT in self.adjustments else Adjustment.TOTAL

    @property
    def range(self) -> str:
        wanted = self.query.get("range", "")
        return wanted if wanted in RANGES else "1Y"

    @cached_property
    def bars(self) -> pd.DataFrame:
        return view_bars(self.instrument, self.timeframe, adjustment=self.adjustment)

    @cached_property
    def bars_in_range(self) -> pd.DataFrame:
        days = RANGES[self.range]
        if not days or self.bars.empty:
            return self.bars
        return self.bars.loc[self.bars.index[-1] - pd.Timedelta(days=days) :]


@login_required
@require_GET
def instrument_detail(request: PageRequest, symbol: str) -> HttpResponseBase:
    asked = Asked(_instrument(symbol), request.GET)
    if not asked.timeframes:
        context = {"instrument": asked.instrument, "facts": None}
        return render_page(
            request, "marketdata/instrument_detail.html", "marketdata/_instrument.html", context
        )
    if "format" in request.GET:
        return table_response(
            asked.bars_in_range.reset_index().to_dict("records"),
            BAR_COLUMNS,
            name=f"{symbol}-{asked.timeframe}",
            form=request.GET["format"],
        )
    context = _price_context(request, asked) | _record_context(asked.instrument)
    return render_page(
        request, "marketdata/instrument_detail.html", "marketdata/_instrument.html", context
    )


@login_required
@require_GET
def instrument_chart(request: PageRequest, symbol: str) -> HttpResponse:
    asked = Asked(_instrument(symbol), request.GET)
    if not asked.timeframes:
        raise Http404("There are no bars of it.")
    n_shown = min(len(asked.bars_in_range), MAX_BARS)
    added = [
        one.draw(request, asked.instrument, asked.bars, n_shown=n_shown) for one in additions()
    ]
    return figure_response(
        price_figure(asked.bars_in_range, symbol=symbol, summary=_conclusion(asked), added=added)
    )


def _instrument(symbol: str) -> Instrument:
    return get_object_or_404(Instrument.objects.prefetch_related("series"), symbol=symbol)


def _price_context(request: PageRequest, asked: Asked) -> dict[str, Any]:
    shown = asked.bars_in_range
    added = [(one.template, one.controls(request, asked.instrument)) for one in additions()]
    return {
        "instrument": asked.instrument,
        "facts": facts(asked.bars, asked.timeframe, asked.instrument.exchange),
        "timeframe_label": TIMEFRAMES[asked.timeframe],
        "timeframes": [
            (TIMEFRAMES[frame], query_url(request, timeframe=frame.value), frame is asked.timeframe)
            for frame in asked.timeframes
        ],
        "ranges": [(name, query_url(request, range=name), name == asked.range) for name in RANGES],
        "adjustments": [
            (label, query_url(request, adjustment=value), value == asked.adjustment)
            for value, label in Adjustment.choices
            if value in asked.adjustments
        ],
        "query": query_url(request),
        "csv": query_url(request, format="csv"),
        "exports": [
            (name, query_url(request, format=form))
            for name, form in (("CSV", "csv"), ("Parquet", "parquet"), ("JSON", "json"))
        ],
        "preview": price_preview(shown),
        "caption": _conclusion(asked),
        "additions": added,
        "chart_size": "xl" if any(controls.get("is_tall") for _, controls in added) else "lg",
    }


def _record_context(instrument: Instrument) -> dict[str, Any]:
    findings = QualityFinding.objects.filter(
        series__instrument=instrument, resolved_at__isnull=True
    ).select_related("series")
    revisions = list(BarRevision.objects.filter(series__instrument=instrument)[:FINDINGS_SHOWN])
    for revision in revisions:
        revision.change_text = _change_text(revision)  # type: ignore[attr-defined]
    return {
        "finding_columns": FINDING_COLUMNS,
        "findings": findings[:FINDINGS_SHOWN],
        "action_columns": ACTION_COLUMNS,
        "actions": CorporateAction.objects.filter(instrument=instrument)[:FINDINGS_SHOWN],
        "revision_columns": REVISION_COLUMNS,
        "revisions": revisions,
        "series_columns": SERIES_COLUMNS,
        "series": sorted(instrument.series.all(), key=lambda one: (one.timeframe, one.source)),
        "as_of": now(),
    }


def _change_text(revision: BarRevision) -> str:
    old, new = revision.old_values, revision.new_values
    return ", ".join(
        f"{name} {old[name]:g} → {new[name]:g}" for name in old if old[name] != new[name]
    )


def _conclusion(asked: Asked) -> str:
    bars = asked.bars_in_range
    if bars.empty:
        return "There are no bars in this range."
    first, last = bars["close"].iloc[0], bars["close"].iloc[-1]
    change = f"{last / first - 1:+.1%}".replace("-", "−")
    cut = len(bars) - MAX_BARS
    note = f" The chart shows the last {MAX_BARS}." if cut > 0 else ""
    return (
        f"{asked.instrument.symbol} moved {change} over {len(bars):,} bars of "
        f"{TIMEFRAMES[asked.timeframe]}, {_day(bars.index[0])} to {_day(bars.index[-1])}: "
        f"low {bars['low'].min():,.2f}, high {bars['high'].max():,.2f}.{note}"
    )


def _day(at: datetime) -> str:
    return f"{at:%-d %b %Y}"


def _count_text(n_rows: int) -> str:
    return "1 instrument" if n_rows == 1 else f"{n_rows:,} instruments"
