"""Every metric of 500 strategies against a loop over empyrical, in one process.

python -m benchmarks.measure_strategies
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np
import pandas as pd

from alphastrat.quant.measures import measure_all

N_STRATEGIES = 500
OWN = [
    "cum_returns_final",
    "annual_return",
    "annual_volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "omega_ratio",
    "max_drawdown",
    "downside_risk",
    "value_at_risk",
    "conditional_value_at_risk",
    "tail_ratio",
    "stability_of_timeseries",
]
COMPARED = ["alpha", "beta", "excess_sharpe", "up_capture", "down_capture"]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def loop_over_empyrical(returns: pd.DataFrame, benchmark: pd.Series) -> None:
    """Measure one strategy after the other, as pyfolio does."""
    import empyrical
    from scipy import stats

    for name in returns:
        series = returns[name]
        for function in OWN:
            getattr(empyrical, function)(series)
        for function in COMPARED:
            getattr(empyrical, function)(series, benchmark)
        stats.skew(series)
        stats.kurtosis(series)


def main() -> None:
    """Print the ratio for half a year and for five years of daily bars."""
    warnings.simplefilter("ignore")
    for n_bars in (126, 1260):
        rng = np.random.default_rng(1)
        values = rng.standard_t(4, (n_bars, N_STRATEGIES)) * 0.01
        index = pd.bdate_range("2013-01-01", periods=n_bars)
        returns = pd.DataFrame(values, index=index)
        benchmark = pd.Series(rng.normal(0, 0.01, n_bars), index=index)
        reference = benchmark.to_numpy()
        ours = seconds(
            lambda v=values, b=reference: measure_all(v, periods_per_year=252, benchmark=b), 15
        )
        theirs = seconds(lambda r=returns, b=benchmark: loop_over_empyrical(r, b), 1)
        print(
            f"{n_bars} bars x {N_STRATEGIES}: measure_all {ours * 1e3:.1f} ms, "
            f"empyrical loop {theirs:.2f} s, {theirs / ours:.0f} times faster"
        )


if __name__ == "__main__":
    main()
