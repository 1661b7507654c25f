"""Technical indicators of instruments: histories, and the newest values of a whole market."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from django.db.models import Min

from alphastrat.core.errors import InvalidInput, NotEnoughData
from alphastrat.marketdata.frames import load_close_times
from alphastrat.marketdata.models import Adjustment, BarSeries, Instrument
from alphastrat.marketdata.services.bar_views import stored_series, view_bars
from alphastrat.quant.types import FloatArray, Timeframe
from strategies.models import TechnicalIndicator
from strategies.services import indicator_cache
from strategies.services.indicator_cache import NewestValue
from strategies.services.indicator_requests import IndicatorRequest

# A question about all instruments fills the cache; so many different ones are remembered.
MAX_REQUESTS_KEPT = 64


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorHistory:
    """An indicator at every bar: UTC close times, and one array per output, NaN if undefined."""

    times: pd.DatetimeIndex
    values: dict[str, FloatArray]
    is_cached: bool


def indicator_history(
    instrument: Instrument,
    request: IndicatorRequest,
    *,
    timeframe: Timeframe,
    adjustment: str = Adjustment.SPLIT,
) -> IndicatorHistory:
    """Return an indicator on the bars of an instrument, as stored or as they can be resampled.

    Raises
    ------
    InvalidInput
        If there are no such bars.
    NotEnoughData
        If there are no more bars than the indicator leaves undefined.
    """
    cached = _cached(instrument, request, timeframe=timeframe, adjustment=adjustment)
    if cached is None:
        bars = view_bars(instrument, timeframe, adjustment=adjustment)
        check_enough(request, len(bars), instrument.symbol)
        index = pd.DatetimeIndex(bars.index)
        return IndicatorHistory(index, request.compute(bars), is_cached=False)
    check_enough(request, len(cached.times), instrument.symbol)
    return cached


def check_enough(request: IndicatorRequest, n_bars: int, symbol: str) -> None:
    """Raise NotEnoughData where an indicator would have no value at all."""
    needed = request.n_undefined + 1
    if n_bars < needed:
        raise NotEnoughData(
            f"{request.label} needs {needed:,} bars for its first value; "
            f"{symbol} has {n_bars:,} here.",
            needed=needed,
            available=n_bars,
            fields={"timeframe": "Choose a smaller timeframe, a shorter period, or import bars."},
        )


def newest_values(
    request: IndicatorRequest, *, timeframe: Timeframe, adjustment: str = Adjustment.SPLIT
) -> list[NewestValue]:
    """Return the value at the newest bar of every active instrument, by symbol.

    What is missing in the cache, or was computed from older bars, is computed and kept first.

    Raises
    ------
    InvalidInput
        If no bars of this timeframe are stored.
    """
    series = _one_series_each(timeframe, adjustment)
    if not series:
        raise InvalidInput(
            f"No {timeframe} bars are stored.",
            fields={"timeframe": "Choose a timeframe that is stored, or import bars."},
        )
    keys = [one.pk for one in series]
    found = indicator_cache.newest(keys, request)
    missing = [one for one in series if one.pk not in found]
    if missing:
        _make_room(request)
        indicator_cache.fill(missing, [request])
        found = indicator_cache.newest(keys, request)
    return sorted(found.values(), key=lambda one: one.symbol)


def _cached(
    instrument: Instrument, request: IndicatorRequest, *, timeframe: Timeframe, adjustment: str
) -> IndicatorHistory | None:
    """Return the cached history if one is kept of these very bars, and current."""
    own = [
        one
        for one in stored_series(instrument)
        if one.timeframe == timeframe and one.adjustment == adjustment
    ]
    if not own:
        return None
    key = own[0].pk
    history = indicator_cache.read([key], request).get(key)
    if history is None:
        return None
    times = load_close_times([key])[key]
    if len(times) != history.n_bars or times[-1] != history.time:
        return None  # bars came between the two queries
    return IndicatorHistory(times, history.values, is_cached=True)


def _one_series_each(timeframe: Timeframe, adjustment: str) -> list[BarSeries]:
    """Return the fullest series of every active instrument; replayed bars repeat others."""
    found = BarSeries.objects.filter(
        timeframe=timeframe, adjustment=adjustment, bar_count__gt=0, instrument__is_active=True
    ).exclude(source="replay")
    ranked = found.select_related("instrument").order_by("instrument_id", "-bar_count")
    return list(ranked.distinct("instrument_id"))


def _make_room(request: IndicatorRequest) -> None:
    """Forget the indicator that was kept first, so that questions cannot fill the disk."""
    kept = list(
        TechnicalIndicator.objects.values("indicator_type", "parameters")
        .annotate(first=Min("id"))
        .order_by("first")
    )
    is_new = all(
        (one["indicator_type"], one["parameters"]) != (request.spec.name, request.parameters)
        for one in kept
    )
    if is_new and len(kept) >= MAX_REQUESTS_KEPT:
        TechnicalIndicator.objects.filter(
            indicator_type=kept[0]["indicator_type"], parameters=kept[0]["parameters"]
        ).delete()
