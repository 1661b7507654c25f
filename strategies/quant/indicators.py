"""Technical indicators: the only door to TA-Lib.

TA-Lib's seeding differs from the published tables in two places, and the published form is
used here: MACD is the difference of two EMAs that are each seeded with the mean of their first
values (TA-Lib seeds the fast one later), and ATR counts the first bar's range (TA-Lib drops
it). RSI, Bollinger Bands (population deviation), SMA, EMA and the stochastic agree with the
tables as they are. A NaN makes TA-Lib's RSI 0.0 for every later bar, so gaps are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from inspect import unwrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import talib
from talib import _ta_lib, abstract

from alphastrat.quant.types import FloatArray
from strategies.quant.indicator_specs import (
    HIGHEST,
    LOWEST,
    IndicatorParameter,
    IndicatorSpec,
    Pane,
    synthetic_bars,
)
from strategies.quant.memo import bar_arrays as bar_arrays
from strategies.quant.memo import memo as memo
from strategies.quant.memo import recalled, remembered
from strategies.quant.panel import Panel
from strategies.quant.seeding import atr_published, macd_published


class Macd(NamedTuple):
    """MACD line, its signal line and their difference, each of shape (n_bars,)."""

    line: FloatArray
    signal: FloatArray
    histogram: FloatArray


class Bands(NamedTuple):
    """Upper, middle and lower band, each of shape (n_bars,)."""

    upper: FloatArray
    middle: FloatArray
    lower: FloatArray


def rsi(close: FloatArray, period: int = 14) -> FloatArray:
    """Return Wilder's relative strength index.

    Parameters
    ----------
    close : ndarray of shape (n_bars,)
        Finite.
    period : int
        Bars, >= 2.

    Returns
    -------
    ndarray of shape (n_bars,)
        In [0, 100]; NaN for the first `period` bars.

    Raises
    ------
    ValueError
        If `close` has a gap.

    References
    ----------
    .. [1] Wilder (1978), "New Concepts in Technical Trading Systems", ch. 6.
    """
    return recalled(_rsi, close, period)


def sma(series: FloatArray, period: int) -> FloatArray:
    """Return the simple moving average, NaN for the first `period` - 1 bars.

    Parameters
    ----------
    series : ndarray of shape (n_bars,)
        Finite.
    period : int
        Bars, >= 2.

    Returns
    -------
    ndarray of shape (n_bars,)
        In the unit of `series`.
    """
    return recalled(_sma, series, period)


def ema(series: FloatArray, period: int) -> FloatArray:
    """Return the exponential moving average seeded with the mean of its first values.

    Parameters
    ----------
    series : ndarray of shape (n_bars,)
        Finite.
    period : int
        Bars, >= 2; the weight of the newest is 2 / (period + 1).

    Returns
    -------
    ndarray of shape (n_bars,)
        NaN for the first `period` - 1 bars.
    """
    return recalled(_ema, series, period)


def macd(close: FloatArray, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Return moving average convergence and divergence, seeded as published.

    Parameters
    ----------
    close : ndarray of shape (n_bars,)
        Finite.
    fast, slow, signal : int
        EMA periods in bars, fast < slow.

    Returns
    -------
    Macd
        Line from bar slow - 1, signal and histogram from bar slow + signal - 2, NaN before.

    Raises
    ------
    ValueError
        If fast >= slow or `close` has a gap.

    Notes
    -----
    Equal to `ema(close, fast) - ema(close, slow)`. TA-Lib's MACD differs by 1.01 at its first
    value and 0.005 after 66 bars on the published example.
    """
    if fast >= slow:
        raise ValueError(f"fast must be shorter than slow, were {fast} and {slow}")
    return recalled(_macd, close, fast, slow, signal)


def bollinger(close: FloatArray, period: int = 20, deviations: float = 2.0) -> Bands:
    """Return Bollinger Bands, with the population standard deviation (ddof 0) as published.

    Parameters
    ----------
    close : ndarray of shape (n_bars,)
        Finite.
    period : int
        Bars, >= 2.
    deviations : float
        Half width in standard deviations.

    Returns
    -------
    Bands
        NaN for the first `period` - 1 bars.
    """
    return recalled(_bollinger, close, period, deviations)


def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int = 14) -> FloatArray:
    """Return Wilder's average true range, seeded as published.

    Parameters
    ----------
    high, low, close : ndarray of shape (n_bars,)
        Finite.
    period : int
        Bars, >= 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        In price units; the first value is the mean of the first `period` true ranges, the first
        of which is the first bar's high - low. NaN before.

    References
    ----------
    .. [1] Wilder (1978), "New Concepts in Technical Trading Systems", ch. 3.
    """
    key = ("atr", id(high), id(low), id(close), period)
    return remembered(
        key,
        (high, low, close),
        lambda: atr_published(_whole(high), _whole(low), _whole(close), period),
    )


def highest(series: FloatArray, period: int) -> FloatArray:
    """Return the largest of the last `period` values, the current one included."""
    return recalled(_highest, series, period)


def lowest(series: FloatArray, period: int) -> FloatArray:
    """Return the smallest of the last `period` values, the current one included."""
    return recalled(_lowest, series, period)


def compute(name: str, bars: pd.DataFrame, **params: float) -> dict[str, FloatArray]:
    """Return an indicator of the catalogue on the bars of one instrument.

    Parameters
    ----------
    name : str
        As in `catalogue()`, in any case.
    bars : DataFrame of shape (n_bars, 5)
        OHLCV bars without gaps. MAVP also reads a column "periods".
    **params : int or float
        Parameters by name; omitted ones take their defaults.

    Returns
    -------
    dict of str to ndarray of shape (n_bars,)
        One array per output, NaN while warming up.

    Raises
    ------
    ValueError
        If the indicator or a parameter is unknown or out of range, or the bars have gaps.
    """
    described = spec(name)
    columns: Mapping[str, FloatArray] = bar_arrays(bars)._asdict()
    missing = set(described.inputs) - set(columns)
    if missing:
        extra = {column: _column(bars, column) for column in missing}
        columns = {**columns, **extra}
    arrays = [columns[column] for column in described.inputs]
    return _outputs(described, arrays, _checked(described.name, tuple(sorted(params.items()))))


def compute_panel(name: str, panel: Panel, **params: float) -> dict[str, FloatArray]:
    """Return an indicator for every instrument of a panel.

    Parameters
    ----------
    name, **params
        As in `compute`.
    panel : Panel
        Bars; an instrument's missing rows are skipped, not filled.

    Returns
    -------
    dict of str to ndarray of shape (n_bars, n_assets)
        NaN while warming up and where an instrument has no bar.
    """
    described = spec(name)
    checked = _checked(described.name, tuple(sorted(params.items())))
    inputs = [np.ascontiguousarray(getattr(panel, column).T) for column in described.inputs]
    present = panel.has_bar.T
    whole: list[bool] = np.asarray(present.all(axis=1)).tolist()
    shape = (panel.n_assets, panel.n_bars)
    outputs = {output: np.empty(shape) for output in described.outputs}
    for j in range(panel.n_assets):
        rows = slice(None) if whole[j] else present[j]
        arrays = [column[j, rows] for column in inputs]
        for output, values in _outputs(described, arrays, checked).items():
            if not whole[j]:
                outputs[output][j] = np.nan
            outputs[output][j, rows] = values
    return {output: values.T for output, values in outputs.items()}


def spec(name: str) -> IndicatorSpec:
    """Return the description of one indicator.

    Parameters
    ----------
    name : str
        In any case.

    Returns
    -------
    IndicatorSpec
        As in `catalogue`.

    Raises
    ------
    ValueError
        If TA-Lib has no such function.
    """
    try:
        return _specs()[name.upper()]
    except KeyError:
        raise ValueError(f"unknown indicator {name!r}; see the catalogue") from None


def catalogue() -> tuple[IndicatorSpec, ...]:
    """Return every indicator, sorted by group and name."""
    return tuple(sorted(_specs().values(), key=lambda known: (known.group, known.name)))


@lru_cache(maxsize=1024)
def lookback(name: str, **params: float) -> int:
    """Return the number of leading bars without a value.

    Parameters
    ----------
    name, **params
        As in `compute`.

    Returns
    -------
    int
        Bars, >= 0.
    """
    described = spec(name)
    checked = dict(_checked(described.name, tuple(sorted(params.items()))))
    if described.name == "MACD":
        return int(checked["slowperiod"] + checked["signalperiod"] - 2)
    if described.name == "ATR":
        return int(checked["timeperiod"] - 1)
    return _talib_lookback(described.name, checked)


@lru_cache(maxsize=1024)
def warmup_bars(name: str, *, tolerance: float = 1e-8, **params: float) -> int | None:
    """Return the bars before the value stops depending on where the history starts.

    It is found by trial: the window is doubled until its last values equal those of a long
    history, on a fixed synthetic series.

    Parameters
    ----------
    name, **params
        As in `compute`.
    tolerance : float
        Largest relative difference that counts as equal.

    Returns
    -------
    int or None
        Bars, at least the lookback; None if no window is long enough (path dependent).
    """
    if spec(name).is_path_dependent:
        return None
    shortest = lookback(name, **params)
    history = synthetic_bars(max(6_000, 60 * (shortest + 1)))
    whole = compute(name, history, **params)
    extra = 0
    while shortest + extra < len(history) // 2:
        window = history.iloc[-(shortest + extra + 20) :]
        if _agree(whole, compute(name, window, **params), tolerance):
            return shortest + extra
        extra = max(2 * extra, shortest // 2, 4)
    return None


def _agree(whole: dict[str, FloatArray], part: dict[str, FloatArray], tolerance: float) -> bool:
    return all(
        np.allclose(values[-20:], part[name][-20:], tolerance, tolerance, equal_nan=True)
        for name, values in whole.items()
    )


def _whole(series: FloatArray) -> FloatArray:
    # One BLAS call instead of an array of booleans: a gap makes the sum of squares NaN.
    if not math.isfinite(series.dot(series)):
        raise ValueError("an indicator needs a series without gaps: a value is not finite")
    return series


def _gapless(function: Callable[..., Any]) -> Callable[..., Any]:
    # The compiled function itself: `talib` wraps it in a search for frames among the arguments.
    inner = unwrap(function)
    return lambda series, *params: inner(_whole(series), *params)


_rsi, _sma, _ema = _gapless(talib.RSI), _gapless(talib.SMA), _gapless(talib.EMA)
_highest, _lowest = _gapless(talib.MAX), _gapless(talib.MIN)
_bands = _gapless(talib.BBANDS)


def _macd(close: FloatArray, fast: int, slow: int, signal: int) -> Macd:
    return Macd._make(macd_published(_whole(close), fast, slow, signal))


def _bollinger(close: FloatArray, period: int, deviations: float) -> Bands:
    return Bands._make(_bands(close, period, deviations, deviations))


def _column(bars: pd.DataFrame, name: str) -> FloatArray:
    if name not in bars.columns:
        raise ValueError(f"this indicator reads a column {name!r}, which the bars lack")
    return np.ascontiguousarray(bars[name], np.float64)


_PUBLISHED: dict[str, Callable[..., Any]] = {
    "MACD": lambda close, fastperiod, slowperiod, signalperiod: macd(
        close, fastperiod, slowperiod, signalperiod
    ),
    "ATR": lambda high, low, close, timeperiod: atr(high, low, close, timeperiod),
}


def _outputs(
    described: IndicatorSpec,
    arrays: list[FloatArray],
    checked: tuple[tuple[str, float], ...],
) -> dict[str, FloatArray]:
    name = described.name
    function = _PUBLISHED.get(name) or getattr(talib, name)
    values = function(*(_whole(array) for array in arrays), **dict(checked))
    values = values if isinstance(values, tuple) else (values,)
    if values[0].dtype != np.float64:
        values = tuple(_as_floats(array, lookback(name, **dict(checked))) for array in values)
    return dict(zip(described.outputs, values, strict=True))


def _as_floats(values: Any, n_undefined: int) -> FloatArray:
    floats: FloatArray = values.astype(np.float64)
    floats[:n_undefined] = np.nan
    return floats


@lru_cache(maxsize=4096)
def _checked(name: str, params: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    described = spec(name)
    given = dict(params)
    unknown = set(given) - {known.name for known in described.parameters}
    if unknown:
        raise ValueError(f"{name} has no parameter {sorted(unknown)}")
    checked: dict[str, float] = {}
    for known in described.parameters:
        value = given.get(known.name, known.default)
        if not known.low <= value <= known.high:
            raise ValueError(
                f"{name}: {known.name} must lie in [{known.low:g}, {known.high:g}], was {value}"
            )
        if known.is_integer and value != int(value):
            raise ValueError(f"{name}: {known.name} must be a whole number, was {value}")
        checked[known.name] = int(value) if known.is_integer else float(value)
    return tuple(checked.items())


def _talib_lookback(name: str, params: Mapping[str, float]) -> int:
    function = abstract.Function(name)  # type: ignore[attr-defined]
    function.parameters = dict(params)
    return int(function.lookback)


@lru_cache(maxsize=1)
def _specs() -> dict[str, IndicatorSpec]:
    return {name: _describe(name) for name in talib.get_functions()}  # type: ignore[no-untyped-call]


def _describe(name: str) -> IndicatorSpec:
    known = abstract.Function(name).info  # type: ignore[attr-defined]
    flags = known["function_flags"] or []
    overlay = "Output scale same as input" in flags and known["group"] != "Math Operators"
    outputs = tuple(
        name.lower() if output in ("real", "integer") else output
        for output in known["output_names"]
    )
    return IndicatorSpec(
        name=name,
        label=known["display_name"],
        group=known["group"],
        inputs=tuple(_flat(known["input_names"].values())),
        parameters=tuple(_parameters(name, known["parameters"])),
        outputs=outputs,
        pane=Pane.OVERLAY if overlay else Pane.SEPARATE,
        is_path_dependent="Output is path-dependent" in flags or name.endswith("INDEX"),
        has_unstable_period="Function has an unstable period" in flags,
    )


def _flat(columns: Any) -> Iterator[str]:
    for column in columns:
        yield from [column] if isinstance(column, str) else column


def _parameters(name: str, defaults: Mapping[str, float]) -> Iterator[IndicatorParameter]:
    for position, (parameter, default) in enumerate(defaults.items()):
        # Labels are not in the wheel's public interface.
        words = _ta_lib._ta_getOptInputParameterInfo(name.encode(), position)  # type: ignore[attr-defined]
        is_accepted = partial(_accepts, name, defaults, parameter)
        yield IndicatorParameter(
            name=parameter,
            label=words["display_name"],
            help=words["help"],
            default=default,
            low=next(filter(is_accepted, LOWEST)),
            high=next(filter(is_accepted, HIGHEST)),
            is_integer=isinstance(default, int),
        )


def _accepts(name: str, defaults: Mapping[str, float], parameter: str, value: float) -> bool:
    is_integer = isinstance(defaults[parameter], int)
    if is_integer and (abs(value) > 1e9 or value != int(value)):
        return False
    tried = {**defaults, parameter: int(value) if is_integer else float(value)}
    return _talib_lookback(name, tried) >= 0
