"""The OHLCV frame every numeric function in AlphaStrat accepts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd

from alphastrat.quant.calendars import Times, bar_times
from alphastrat.quant.types import FloatArray, IntArray, Timeframe

COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = ("open", "high", "low", "close")
# Building the labels takes longer than checking a year of daily bars: frames made here share them.
COLUMN_LABELS = pd.Index(COLUMNS)
_LONGER_THAN_A_MONTH = timedelta(days=40)
_BARS_TO_RECOGNISE = 500


def check_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return `bars` unchanged if it is a well-formed OHLCV frame.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        Float64 columns open, high, low, close, volume; prices in quote currency,
        volume in units. The index is the UTC close time of each bar, strictly increasing.

    Returns
    -------
    DataFrame
        The same object.

    Raises
    ------
    ValueError
        If a column is missing, a value is not finite, a price is not positive, a volume is
        negative, the range is inverted, or the index is naive, unsorted or repeated. TA-Lib
        turns an interior NaN into an RSI of 0 for every later bar, so a gap must stop here.
    """
    values = bar_values(bars)
    check_close_times(bars.index)
    if not np.isfinite(values).all():
        raise ValueError("bars contain values that are not finite")
    if (values[:, :4] <= 0).any() or (values[:, 4] < 0).any():
        raise ValueError("bars contain a price that is not positive or a negative volume")
    body = values[:, [0, 3]]
    if (values[:, 1] < body.max(axis=1)).any() or (values[:, 2] > body.min(axis=1)).any():
        raise ValueError("a bar's open or close lies outside its high-low range")
    return bars


def bar_values(bars: pd.DataFrame) -> FloatArray:
    """Return the columns of a frame in the order of `COLUMNS`.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        OHLCV bars, in any order of columns.

    Returns
    -------
    ndarray of shape (n_bars, 5)
        Prices in quote currency and volume in units; it may share memory with the frame.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    if bars.columns.equals(COLUMN_LABELS):
        return bars.to_numpy(dtype=np.float64)
    missing = set(COLUMNS) - set(bars.columns)
    if missing:
        raise ValueError(f"bars lack columns {sorted(missing)}")
    return bars[list(COLUMNS)].to_numpy(dtype=np.float64)


def check_close_times(index: pd.Index) -> pd.DatetimeIndex:
    """Return `index` if it can label bars: UTC and strictly increasing.

    Parameters
    ----------
    index : Index of shape (n_bars,)
        Close time of each bar.

    Returns
    -------
    DatetimeIndex
        The same object.

    Raises
    ------
    ValueError
        If it is not a UTC DatetimeIndex, or is unsorted or repeated.
    """
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        raise ValueError("bars must be indexed by UTC close time")
    if not (index.is_monotonic_increasing and index.is_unique):
        raise ValueError("bar close times must be strictly increasing")
    return index


def align_bars(
    frames: Mapping[str, pd.DataFrame], *, how: Literal["inner", "outer"] = "inner"
) -> dict[str, pd.DataFrame]:
    """Put the bars of several instruments on one index.

    Parameters
    ----------
    frames : mapping of symbol to DataFrame of shape (n_bars_i, 5)
        Frames that satisfy `check_bars`.
    how : {"inner", "outer"}
        "inner" keeps the close times that every instrument has; "outer" keeps all and leaves
        NaN rows where an instrument has no bar. Nothing is filled forward.

    Returns
    -------
    dict of symbol to DataFrame of shape (n_bars, 5)
        In the order given; all frames share one index.

    Raises
    ------
    ValueError
        If no frame is given, or "inner" leaves no bar.
    """
    if not frames:
        raise ValueError("align_bars needs at least one frame")
    indexes = [check_close_times(frame.index) for frame in frames.values()]
    common = indexes[0]
    for index in indexes[1:]:
        common = common.intersection(index) if how == "inner" else common.union(index)
    if len(common) == 0:
        raise ValueError("the instruments share no bar close time")
    return {symbol: frame.reindex(common) for symbol, frame in frames.items()}


def resample_bars(
    bars: pd.DataFrame,
    timeframe: Timeframe,
    *,
    calendar: str,
    source: Timeframe | None = None,
    include_partial: bool = False,
) -> pd.DataFrame:
    """Combine bars into a larger timeframe without looking ahead.

    A larger bar exists only once it is complete: it is labelled by its own close, and it appears
    only if the series reaches that close. Intraday bars are counted from each session's open,
    weeks and months run from their first session's open to their last session's close.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        Bars of a smaller timeframe that satisfy `check_bars`.
    timeframe : Timeframe
        The larger timeframe.
    calendar : str
        Exchange calendar code, see `calendars`.
    source : Timeframe, optional
        The timeframe of `bars`; recognised from their close times if not given.
    include_partial : bool
        Also return an incomplete first and last bar. The last is labelled by the newest close
        it has seen, so that its label never lies in the future.

    Returns
    -------
    DataFrame of shape (n_larger_bars, 5)
        First open, highest high, lowest low, last close, summed volume; UTC close index.

    Raises
    ------
    ValueError
        If `timeframe` is not larger than the source, or a bar fails `check_bars`.

    Notes
    -----
    Bars outside every session (pre-market, after hours) belong to no larger bar and are left
    out. A larger bar with a gap inside is made of the bars there are; one without any is absent.
    """
    index = check_close_times(check_bars(bars).index)
    if len(index) == 0:
        return bars[list(COLUMNS)].copy()
    source = source or _recognise(index, calendar, timeframe)
    if source is not None and _rank(source) >= _rank(timeframe):
        raise ValueError(f"cannot make {timeframe} bars out of {source} bars")
    opened, closed = _times_around(timeframe, calendar, index)
    position = closed.searchsorted(index, side="left")
    inside = position < len(closed)
    inside[inside] = index[inside] > opened[position[inside]]
    larger, position = _combine(bars[inside], position[inside])
    if len(larger) == 0:
        return larger
    larger.index = closed[position].as_unit(index.unit)
    whole = np.ones(len(larger), dtype=np.bool_)
    whole[-1] = index[-1] >= larger.index[-1]
    whole[0] &= _starts_whole(index[0], source, calendar, opened[position[0]], closed[position[0]])
    if not include_partial:
        return larger[whole]
    if larger.index[-1] > index[-1]:
        larger.index = larger.index[:-1].append(index[-1:])
    return larger


def _combine(bars: pd.DataFrame, position: IntArray) -> tuple[pd.DataFrame, IntArray]:
    if len(bars) == 0:
        return bars[list(COLUMNS)].copy(), position
    starts = np.flatnonzero(np.r_[True, np.diff(position) > 0])
    ends = np.r_[starts[1:] - 1, position.size - 1]
    columns = {column: bars[column].to_numpy(np.float64) for column in COLUMNS}
    combined = {
        "open": columns["open"][starts],
        "high": np.maximum.reduceat(columns["high"], starts),
        "low": np.minimum.reduceat(columns["low"], starts),
        "close": columns["close"][ends],
        "volume": np.add.reduceat(columns["volume"], starts),
    }
    return pd.DataFrame(combined), position[starts]


def _starts_whole(
    first: pd.Timestamp,
    source: Timeframe | None,
    calendar: str,
    opened: pd.Timestamp,
    closed: pd.Timestamp,
) -> bool:
    """Return whether the series has the smaller bar that opens the first larger one."""
    if source is None:
        return False
    expected = bar_times(source, calendar, opened, closed)[1]
    return len(expected) > 0 and bool(first <= expected[0])


def _recognise(index: pd.DatetimeIndex, calendar: str, larger: Timeframe) -> Timeframe | None:
    """Return the longest timeframe whose closes include every close given, if any does."""
    sample = index[:_BARS_TO_RECOGNISE]
    # One or two bars fit too many timeframes to refuse them for being too long.
    longest = len(Timeframe) if len(sample) > 2 else _rank(larger)
    for timeframe in reversed(list(Timeframe)[:longest]):
        if sample.isin(_times_around(timeframe, calendar, sample)[1]).all():
            return timeframe
    return None


def _times_around(timeframe: Timeframe, calendar: str, index: pd.DatetimeIndex) -> Times:
    start, end = index[0].to_pydatetime(), index[-1].to_pydatetime()
    return bar_times(timeframe, calendar, start - _LONGER_THAN_A_MONTH, end + _LONGER_THAN_A_MONTH)


def _rank(timeframe: Timeframe) -> int:
    return list(Timeframe).index(timeframe)


def adjust_bars(
    bars: pd.DataFrame,
    *,
    splits: pd.Series | None = None,
    dividends: pd.Series | None = None,
) -> pd.DataFrame:
    r"""Return bars back-adjusted for splits and cash dividends, the last bar unchanged.

    Every price before an action is multiplied by its factor

    .. math:: f_{split} = 1 / \rho, \qquad f_{dividend} = 1 - D / C_{-1}

    with :math:`\rho` new shares per old share, D the cash per share and :math:`C_{-1}` the last
    close before the action, on the share basis after any split of the same instant. Volume
    before a split is multiplied by :math:`\rho`.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        Unadjusted bars that satisfy `check_bars`.
    splits : Series, optional
        New shares per old share (4.0 for 4-for-1, 0.1 for 1-for-10), indexed by the UTC time
        from which trading is ex: a bar is before the action if it closes at or before it.
    dividends : Series, optional
        Cash per share in quote currency, >= 0, same index.

    Returns
    -------
    DataFrame of shape (n_bars, 5)
        A new frame.

    Raises
    ------
    ValueError
        If a ratio is not positive, a dividend is negative or not smaller than the close before
        it, or an index is not UTC.

    Notes
    -----
    Actions at or before the first bar, and actions after the last bar, change nothing: the
    former are in the prices, the latter were not known yet. Adding bars can therefore restate
    adjusted history; store unadjusted bars and adjust on reading.

    References
    ----------
    .. [1] CRSP (2023), "Data Descriptions Guide: Stock and Indexes", section "Adjusting data:
       factors to adjust price and shares outstanding"; multiplicative form as used by Yahoo
       Finance, "What is the adjusted close?".
    """
    times = check_close_times(check_bars(bars).index)
    ratios = _actions_in_range(splits, times)
    cash = _actions_in_range(dividends, times)
    if (ratios <= 0).any():
        raise ValueError(f"split ratios must be positive, smallest was {ratios.min()}")
    if (cash < 0).any():
        raise ValueError(f"dividends must not be negative, smallest was {cash.min()}")
    share_steps = _steps(times, ratios.index, ratios.to_numpy(np.float64))
    cash_factors = _dividend_factors(bars["close"], ratios, cash)
    price_steps = _steps(times, cash.index, cash_factors) / share_steps
    adjusted = bars.copy()
    price_factor = _compound_backwards(price_steps)
    for column in PRICE_COLUMNS:
        adjusted[column] = bars[column].to_numpy(np.float64) * price_factor
    adjusted["volume"] = bars["volume"].to_numpy(np.float64) * _compound_backwards(share_steps)
    return adjusted


def _actions_in_range(actions: pd.Series | None, times: pd.DatetimeIndex) -> pd.Series:
    if actions is None or len(actions) == 0 or len(times) == 0:
        return pd.Series([], index=times[:0], dtype=np.float64)
    if not isinstance(actions.index, pd.DatetimeIndex) or str(actions.index.tz) != "UTC":
        raise ValueError("corporate actions must be indexed by UTC time")
    inside = (actions.index >= times[0]) & (actions.index < times[-1])
    return actions[inside].astype(np.float64).sort_index()


def _dividend_factors(close: pd.Series, ratios: pd.Series, cash: pd.Series) -> FloatArray:
    before = close.to_numpy(np.float64)[close.index.searchsorted(cash.index, side="right") - 1]
    same_instant = ratios.groupby(level=0).prod().reindex(cash.index).fillna(1.0)
    factors: FloatArray = (
        1.0 - cash.to_numpy(np.float64) * same_instant.to_numpy(np.float64) / before
    )
    if (factors <= 0).any():
        raise ValueError("a dividend is not smaller than the close before it")
    return factors


def _steps(times: pd.DatetimeIndex, at: pd.Index, factors: FloatArray) -> FloatArray:
    """Return the product of the factors that apply between each bar and the next."""
    steps = np.ones(len(times))
    np.multiply.at(steps, times.searchsorted(at, side="right") - 1, factors)
    return steps


def _compound_backwards(steps: FloatArray) -> FloatArray:
    return np.asarray(np.cumprod(steps[::-1])[::-1], dtype=np.float64)
