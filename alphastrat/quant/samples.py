"""Many return series measured at once, their common intermediate results computed once.

A measure is written for a dense block of series and decorated with `measure` or
`benchmark_measure`, which give it the public signature: any array of returns, NaN where a
series has no observation, one number per series back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray

P = ParamSpec("P")

# Blocks of about half a megabyte keep the intermediate arrays in the processor's cache.
_BLOCK_VALUES = 1 << 16
# A standard deviation below this share of the mean is rounding, not dispersion.
_ROUNDING = 1e-12


class Sample:
    """Returns of several series over the same bars, without gaps.

    Parameters
    ----------
    returns : ndarray of shape (n_series, n_bars)
        Simple returns as fractions, finite, one series per row.
    benchmark : ndarray of shape (1, n_bars) or (n_series, n_bars), optional
        Returns of what the series are compared with.
    """

    def __init__(self, returns: FloatArray, benchmark: FloatArray | None = None) -> None:
        self.returns = returns
        self._benchmark = benchmark

    @property
    def n_bars(self) -> int:
        """Number of observations of every series."""
        return int(self.returns.shape[1])

    @cached_property
    def benchmark(self) -> Sample:
        """The benchmark as a sample of its own."""
        if self._benchmark is None:
            raise ValueError("this measure needs a benchmark")
        return Sample(self._benchmark)

    @cached_property
    def active(self) -> Sample:
        """Returns above the benchmark, bar by bar."""
        return Sample(self.returns - self.benchmark.returns)

    @cached_property
    def mean(self) -> FloatArray:
        """Arithmetic mean per series."""
        return np.asarray(self.returns.mean(axis=1))

    @cached_property
    def centred(self) -> FloatArray:
        """Returns less their mean."""
        return self.returns - self.mean[:, None]

    @cached_property
    def second_moment(self) -> FloatArray:
        """Mean squared deviation per series (ddof 0), exactly 0 for a constant series."""
        moment = np.einsum("ij,ij->i", self.centred, self.centred) / self.n_bars
        constant = np.sqrt(moment) <= _ROUNDING * np.abs(self.mean)
        return np.where(constant, 0.0, moment)

    @cached_property
    def deviation(self) -> FloatArray:
        """Sample standard deviation per series (ddof 1)."""
        return np.asarray(np.sqrt(self.second_moment * self.n_bars / (self.n_bars - 1)))

    @cached_property
    def growth(self) -> FloatArray:
        """Factor by which each bar multiplies the account, 0 in ruin."""
        growth = 1.0 + self.returns
        return np.asarray(np.maximum(growth, 0.0, out=growth))

    @cached_property
    def losses(self) -> FloatArray:
        """Returns below 0, and 0 for the others."""
        return np.asarray(np.minimum(self.returns, 0.0))

    @cached_property
    def curve(self) -> FloatArray:
        """Account value after every bar from 1; it stays at 0 once a return is -1 or less."""
        return np.asarray(np.cumprod(self.growth, axis=1))

    @cached_property
    def drawdown(self) -> FloatArray:
        """Fraction below the running peak, the start counted as a peak; in [-1, 0]."""
        peak = np.maximum.accumulate(self.curve, axis=1)
        depth = self.curve / np.maximum(peak, 1.0, out=peak)
        depth -= 1.0
        return np.asarray(depth)

    @cached_property
    def ordered(self) -> FloatArray:
        """Returns of each series from worst to best."""
        return np.sort(self.returns, axis=1)

    def quantile(self, probability: float) -> FloatArray:
        """Return the linear (type 7) quantile of each series."""
        position = (self.n_bars - 1) * probability
        below = int(position)
        above = min(below + 1, self.n_bars - 1)
        low, high = self.ordered[:, below], self.ordered[:, above]
        return np.asarray(low + (high - low) * (position - below))

    def annual_return(self, periods_per_year: float) -> FloatArray:
        """Return the geometric return per year of each series."""
        return np.asarray(self.curve[:, -1] ** (periods_per_year / self.n_bars) - 1.0)


Compute = Callable[[Sample], FloatArray]


def measure(
    *, least: int = 1
) -> Callable[
    [Callable[Concatenate[Sample, P], FloatArray]],
    Callable[Concatenate[FloatArray | Sample, P], FloatArray],
]:
    """Give a measure of a sample the public signature: an array in, one number per series out.

    Parameters
    ----------
    least : int
        Fewest observations for which the formula is defined; NaN below.

    Returns
    -------
    callable
        Decorator.
    """

    def decorate(
        body: Callable[Concatenate[Sample, P], FloatArray],
    ) -> Callable[Concatenate[FloatArray | Sample, P], FloatArray]:
        @wraps(body)
        def measured(
            returns: FloatArray | Sample, /, *args: P.args, **kwargs: P.kwargs
        ) -> FloatArray:
            def compute(sample: Sample) -> FloatArray:
                if sample.n_bars < least:
                    return np.full(sample.returns.shape[0], np.nan)
                return body(sample, *args, **kwargs)

            if isinstance(returns, Sample):
                return compute(returns)
            return evaluate([compute], returns)[0]

        return measured

    return decorate


def benchmark_measure(
    *, least: int = 2
) -> Callable[
    [Callable[Concatenate[Sample, P], FloatArray]],
    Callable[Concatenate[FloatArray | Sample, FloatArray | None, P], FloatArray],
]:
    """Give a measure against a benchmark its public signature, see `measure`.

    Parameters
    ----------
    least : int
        Fewest common observations for which the formula is defined; NaN below.

    Returns
    -------
    callable
        Decorator.
    """

    def decorate(
        body: Callable[Concatenate[Sample, P], FloatArray],
    ) -> Callable[Concatenate[FloatArray | Sample, FloatArray | None, P], FloatArray]:
        @wraps(body)
        def measured(
            returns: FloatArray | Sample,
            benchmark: FloatArray | None,
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> FloatArray:
            def compute(sample: Sample) -> FloatArray:
                if sample.n_bars < least:
                    return np.full(sample.returns.shape[0], np.nan)
                return body(sample, *args, **kwargs)

            if isinstance(returns, Sample):
                return compute(returns)
            return evaluate([compute], returns, benchmark)[0]

        return measured

    return decorate


def evaluate(
    computes: Sequence[Compute], returns: FloatArray, benchmark: FloatArray | None = None
) -> FloatArray:
    """Evaluate several measures of every series, sharing what they have in common.

    Parameters
    ----------
    computes : sequence of callables
        Each takes a `Sample` and returns an array of shape (n_series,).
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns; NaN where a series has no observation.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series), optional
        Returns of the benchmark; bars where it is NaN are left out.

    Returns
    -------
    ndarray of shape (n_measures,) or (n_measures, n_series)
        NaN where a measure is undefined.

    Raises
    ------
    ValueError
        If a return is infinite or the shapes do not fit.
    """
    matrix, reference = _rows(returns, "returns"), None
    if benchmark is not None:
        reference = _rows(benchmark, "benchmark")
        if reference.shape[1] != matrix.shape[1] or reference.shape[0] not in (1, matrix.shape[0]):
            raise ValueError(
                f"benchmark of shape {np.shape(benchmark)} does not fit returns of shape "
                f"{np.shape(returns)}"
            )
    results = np.full((len(computes), matrix.shape[0]), np.nan)
    with np.errstate(all="ignore"):
        for members, sample in _dense_blocks(matrix, reference):
            for row, compute in enumerate(computes):
                results[row, members] = compute(sample)
    results[~np.isfinite(results)] = np.nan
    return results if np.ndim(returns) == 2 else results[:, 0]


def _rows(returns: FloatArray, name: str) -> FloatArray:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions, was shape {values.shape}")
    if np.isinf(values).any():
        raise ValueError(f"{name} contain an infinite value")
    return np.ascontiguousarray(np.atleast_2d(values.T))


def _dense_blocks(
    matrix: FloatArray, reference: FloatArray | None
) -> list[tuple[slice | IntArray, Sample]]:
    available = ~np.isnan(matrix)
    if reference is not None:
        available &= ~np.isnan(reference)
    if available.all():
        return [
            (part, Sample(matrix[part], _select(reference, part)))
            for part in _slices(*matrix.shape)
        ]
    blocks: list[tuple[slice | IntArray, Sample]] = []
    masks, group = np.unique(available, axis=0, return_inverse=True)
    for number, mask in enumerate(masks):
        members = np.flatnonzero(group.ravel() == number)
        for part in _slices(members.size, int(mask.sum())):
            rows = members[part]
            common = None if reference is None else _select(reference, rows)
            dense = None if common is None else common[:, mask]
            blocks.append((rows, Sample(matrix[rows][:, mask], dense)))
    return blocks


def _select(reference: FloatArray | None, rows: slice | IntArray) -> FloatArray | None:
    if reference is None or reference.shape[0] == 1:
        return reference
    return reference[rows]


def _slices(n_series: int, n_bars: int) -> list[slice]:
    size = max(_BLOCK_VALUES // max(n_bars, 1), 1)
    return [slice(start, start + size) for start in range(0, n_series, size)]
