"""Every performance measure of AlphaStrat, and the catalogue that pages and the API read.

The formulas live in `return_measures`, `tail_measures` and `benchmark_measures`; this module is
their front door. Returns are simple fractions of shape (n_bars,) or (n_bars, n_series), a loss is
negative, NaN is no observation on the way in and undefined on the way out.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from alphastrat.quant.benchmark_measures import (
    alpha,
    beta,
    correlation,
    down_capture,
    information_ratio,
    information_ratio_per_bar,
    tracking_error,
    up_capture,
)
from alphastrat.quant.measure_entry import Measure, Unit
from alphastrat.quant.measures_catalogue import MEASURES
from alphastrat.quant.return_measures import (
    annual_return,
    annual_volatility,
    best_bar,
    calmar_ratio,
    downside_risk,
    longest_drawdown,
    martin_ratio,
    max_drawdown,
    omega_ratio,
    pain_index,
    sharpe_ratio,
    sortino_ratio,
    stability,
    total_return,
    ulcer_index,
    winning_bars,
    worst_bar,
)
from alphastrat.quant.samples import Sample, evaluate
from alphastrat.quant.tail_measures import (
    conditional_value_at_risk,
    downside_frequency,
    gaussian_conditional_value_at_risk,
    gaussian_value_at_risk,
    kurtosis,
    mean_absolute_deviation,
    modified_value_at_risk,
    skewness,
    tail_ratio,
    upside_potential,
    upside_risk,
    value_at_risk,
)
from alphastrat.quant.types import FloatArray

__all__ = [
    "MEASURES",
    "Measure",
    "Unit",
    "alpha",
    "annual_return",
    "annual_volatility",
    "best_bar",
    "beta",
    "calmar_ratio",
    "conditional_value_at_risk",
    "correlation",
    "down_capture",
    "downside_frequency",
    "downside_risk",
    "gaussian_conditional_value_at_risk",
    "gaussian_value_at_risk",
    "information_ratio",
    "information_ratio_per_bar",
    "kurtosis",
    "longest_drawdown",
    "martin_ratio",
    "max_drawdown",
    "mean_absolute_deviation",
    "measure_all",
    "modified_value_at_risk",
    "omega_ratio",
    "pain_index",
    "sharpe_ratio",
    "skewness",
    "sortino_ratio",
    "stability",
    "tail_ratio",
    "total_return",
    "tracking_error",
    "ulcer_index",
    "up_capture",
    "upside_potential",
    "upside_risk",
    "value_at_risk",
    "winning_bars",
    "worst_bar",
]


def measure_all(
    returns: FloatArray, *, periods_per_year: float, benchmark: FloatArray | None = None
) -> dict[str, FloatArray]:
    """Return every measure of the catalogue for every series.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions; NaN where a series has no observation.
    periods_per_year : float
        Bars in a year, see `calendars.periods_per_year`.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series), optional
        Returns of the benchmark; without it the measures that need one are left out. Those are
        taken over the bars that both have; the others over all bars of the series.

    Returns
    -------
    dict of str to ndarray of shape () or (n_series,)
        By `Measure.key`, in the catalogue's order. NaN where a measure is undefined or a series
        has fewer observations than the catalogue asks for.

    Raises
    ------
    ValueError
        If a return is infinite, the shapes do not fit, or `periods_per_year` is not positive.
    """
    if not periods_per_year > 0:
        raise ValueError(f"periods_per_year must be positive, was {periods_per_year}")
    own = [entry for entry in MEASURES.values() if not entry.needs_benchmark]
    if benchmark is None:
        return _evaluate(own, returns, periods_per_year=periods_per_year)
    everything = list(MEASURES.values())
    results = _evaluate(everything, returns, periods_per_year=periods_per_year, benchmark=benchmark)
    if np.isnan(benchmark).any():
        results |= _evaluate(own, returns, periods_per_year=periods_per_year)
    return results


def _evaluate(
    entries: list[Measure],
    returns: FloatArray,
    *,
    periods_per_year: float,
    benchmark: FloatArray | None = None,
) -> dict[str, FloatArray]:
    computes = [partial(_enough, entry, periods_per_year) for entry in entries]
    values = evaluate(computes, returns, benchmark)
    return {entry.key: np.asarray(row) for entry, row in zip(entries, values, strict=True)}


def _enough(entry: Measure, periods_per_year: float, sample: Sample) -> FloatArray:
    if sample.n_bars < entry.min_observations:
        return np.full(sample.returns.shape[0], np.nan)
    return entry.compute(sample, periods_per_year)
