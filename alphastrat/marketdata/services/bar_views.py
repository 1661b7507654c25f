"""A series as somebody wants to see it: in a larger timeframe, adjusted or not."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.frames import load_bars
from alphastrat.marketdata.models import Adjustment, BarSeries, CorporateAction, Instrument
from alphastrat.quant.bars import adjust_bars, resample_bars
from alphastrat.quant.calendars import calendar
from alphastrat.quant.types import Timeframe

ORDER = list(Timeframe)


def timeframes_of(instrument: Instrument) -> list[Timeframe]:
    """Return the timeframes an instrument can be shown in: those stored, and all larger ones."""
    stored = [Timeframe(series.timeframe) for series in stored_series(instrument)]
    if not stored:
        return []
    smallest = min(stored, key=ORDER.index)
    return ORDER[ORDER.index(smallest) :]


def adjustments_of(instrument: Instrument) -> list[str]:
    """Return the adjustments an instrument can be shown in."""
    possible = {view for series in stored_series(instrument) for view in _views_of(series)}
    return [value for value in Adjustment.values if value in possible]


def stored_series(instrument: Instrument) -> list[BarSeries]:
    """Return the series with bars, the fullest first; replayed bars repeat others and are left."""
    kept = [one for one in instrument.series.all() if one.bar_count and one.source != "replay"]
    return sorted(kept, key=lambda one: -one.bar_count)


def view_bars(
    instrument: Instrument,
    timeframe: Timeframe,
    *,
    adjustment: str = Adjustment.SPLIT,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pd.DataFrame:
    """Return bars of an instrument in any timeframe that its stored bars allow.

    A larger bar exists only once all of it has happened. Adjustments come from the corporate
    actions on record: with none, the three views are the same.

    Raises
    ------
    InvalidInput
        If no stored series is fine enough, or the actions on record cannot be applied to it.
    """
    series = _finest(instrument, timeframe, adjustment)
    bars = _adjusted(load_bars(series), series, adjustment)
    if Timeframe(series.timeframe) is not timeframe and len(bars):
        bars = resample_bars(
            bars,
            timeframe,
            calendar=instrument.exchange,
            source=Timeframe(series.timeframe),
        )
    return bars.loc[slice(start, end)] if start or end else bars


def _finest(instrument: Instrument, timeframe: Timeframe, adjustment: str) -> BarSeries:
    """Choose the stored series nearest below `timeframe`, and in the wanted adjustment first."""
    usable = [
        series
        for series in stored_series(instrument)
        if ORDER.index(Timeframe(series.timeframe)) <= ORDER.index(timeframe)
        and adjustment in _views_of(series)
    ]
    if not usable:
        raise InvalidInput(
            f"{instrument.symbol} has no bars of {timeframe} or finer.",
            fields={"timeframe": "Import finer bars, or choose a larger timeframe."},
        )
    return max(
        usable,
        key=lambda series: (
            ORDER.index(Timeframe(series.timeframe)),
            series.adjustment == adjustment,
            series.bar_count,
        ),
    )


def _adjusted(bars: pd.DataFrame, series: BarSeries, wanted: str) -> pd.DataFrame:
    """Apply, or take back, what separates the stored adjustment from the wanted one."""
    if series.adjustment == wanted or bars.empty:
        return bars
    splits, dividends = _actions(series.instrument)
    try:
        # Dividends are per share of their day, so they are set against the prices of that day.
        if series.adjustment != Adjustment.RAW:
            bars = adjust_bars(bars, splits=1 / splits)
        if wanted == Adjustment.SPLIT:
            bars = adjust_bars(bars, splits=splits)
        elif wanted == Adjustment.TOTAL:
            bars = adjust_bars(bars, splits=splits, dividends=dividends)
    except ValueError as error:
        raise InvalidInput(
            f"The corporate actions of {series.instrument} do not fit its bars: {error}.",
            fields={"adjustment": "Correct the splits and dividends on record."},
        ) from None
    return bars


def _views_of(series: BarSeries) -> list[str]:
    """Return the adjustments a series can be seen in; dividends cannot be taken back."""
    is_total = series.adjustment == Adjustment.TOTAL
    return [Adjustment.TOTAL] if is_total else list(Adjustment.values)


def _actions(instrument: Instrument) -> tuple[pd.Series, pd.Series]:
    """Return split ratios and cash dividends by ex time, which is the open of the ex date."""
    actions = CorporateAction.objects.filter(instrument=instrument).order_by("ex_date")
    opens = calendar(instrument.exchange).opens
    ratios: dict[pd.Timestamp, float] = {}
    cash: dict[pd.Timestamp, float] = {}
    for action in actions:
        session = opens.index.searchsorted(pd.Timestamp(action.ex_date))
        if session == len(opens):
            continue
        at = opens.iloc[session]
        if action.split_ratio is not None:
            ratios[at] = action.split_ratio
        elif action.cash_amount is not None:
            cash[at] = action.cash_amount
    return _by_time(ratios), _by_time(cash)


def _by_time(values: dict[pd.Timestamp, float]) -> pd.Series:
    times = pd.to_datetime(list(values), utc=True)
    return pd.Series(list(values.values()), index=times, dtype="float64")
