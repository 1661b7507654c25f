"""How sure a performance number is: standard errors and Sharpe ratios net of luck.

Sharpe ratios here are per bar, not annualised, and kurtosis is not reduced by 3. The block
bootstrap and the control of false discoveries live in `bootstrap` and `multiple_testing` and can
be imported from here.
"""

from __future__ import annotations

import math
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from alphastrat.quant.bootstrap import (
    BlockScheme,
    block_length,
    bootstrap_interval,
    bootstrap_paths,
)
from alphastrat.quant.multiple_testing import (
    benjamini_hochberg,
    e_benjamini_hochberg,
    lond,
    lond_threshold,
)
from alphastrat.quant.types import FloatArray

__all__ = [
    "BlockScheme",
    "SharpeForm",
    "benjamini_hochberg",
    "block_length",
    "bootstrap_interval",
    "bootstrap_paths",
    "deflated_sharpe",
    "e_benjamini_hochberg",
    "effective_trials",
    "expected_maximum_sharpe",
    "hac_standard_error",
    "lond",
    "lond_threshold",
    "minimum_backtest_years",
    "minimum_track_record_length",
    "probabilistic_sharpe",
    "sharpe_floor",
    "sharpe_standard_error",
]

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


class SharpeForm(StrEnum):
    """Which published variance of the Sharpe ratio a probability uses."""

    PUBLISHED_2012 = "2012"
    REVISED_2025 = "2025"


def hac_standard_error(values: FloatArray, *, lags: int | None = None) -> float:
    r"""Return the Newey-West standard error of a mean, which allows for autocorrelation.

    .. math:: \sqrt{\tfrac{1}{n} \left(\gamma_0 + 2 \sum_{j=1}^{L} (1 - \tfrac{j}{L+1}) \gamma_j
              \right)}

    Parameters
    ----------
    values : ndarray of shape (n_bars,)
        Any series, e.g. returns; finite.
    lags : int, optional
        Lags L of the Bartlett kernel; floor(4 (n/100)^(2/9)) by default.

    Returns
    -------
    float
        In the unit of the values; NaN for fewer than two.

    Raises
    ------
    ValueError
        If `lags` is negative or a value is not finite.

    References
    ----------
    .. [1] Newey & West (1987), "A Simple, Positive Semi-definite, Heteroskedasticity and
       Autocorrelation Consistent Covariance Matrix", Econometrica 55(3).
    """
    series = np.asarray(values, dtype=np.float64)
    if not np.isfinite(series).all():
        raise ValueError("values must be finite")
    n = series.size
    if n < 2:
        return math.nan
    if lags is None:
        lags = int(4 * (n / 100) ** (2 / 9))
    if lags < 0:
        raise ValueError(f"lags must not be negative, was {lags}")
    centred = series - series.mean()
    long_run = float(centred @ centred)
    for lag in range(1, min(lags, n - 1) + 1):
        long_run += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return math.sqrt(max(long_run, 0.0)) / n


def sharpe_standard_error(sharpe: float, n_observations: int) -> float:
    r"""Return the standard error of a Sharpe ratio of independent normal returns.

    .. math:: \sqrt{(1 + SR^2 / 2) / T}

    Parameters
    ----------
    sharpe : float
        Per bar.
    n_observations : int
        Bars T.

    Returns
    -------
    float
        Per bar; NaN without observations.

    References
    ----------
    .. [1] Lo (2002), "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4), eq. 9.
    """
    if n_observations < 1:
        return math.nan
    return math.sqrt((1 + sharpe**2 / 2) / n_observations)


def probabilistic_sharpe(
    sharpe: float,
    *,
    n_observations: int,
    benchmark: float = 0.0,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
    form: SharpeForm = SharpeForm.PUBLISHED_2012,
    autocorrelation: float = 0.0,
) -> float:
    r"""Return the probability that the true Sharpe ratio exceeds a benchmark.

    .. math:: \Phi\left((SR - SR^*) \Big/ \sqrt{\tfrac{1 - \gamma_3 SR + \tfrac{\gamma_4 - 1}{4}
              SR^2}{T - 1}}\right)

    Parameters
    ----------
    sharpe : float
        Observed, per bar.
    n_observations : int
        Bars T.
    benchmark : float
        Sharpe ratio SR* to exceed, per bar.
    skewness, kurtosis : float
        Moments of the returns; 0 and 3 for a normal distribution.
    form : SharpeForm
        PUBLISHED_2012 evaluates the variance at the observed ratio with T - 1, as the formula
        above; REVISED_2025 at the benchmark with T, and allows for autocorrelation.
    autocorrelation : float
        First-order autocorrelation of the returns, in (-1, 1), for REVISED_2025 only.

    Returns
    -------
    float
        In [0, 1]; NaN for fewer than two observations or moments no distribution has.

    References
    ----------
    .. [1] Bailey & López de Prado (2012), "The Sharpe Ratio Efficient Frontier", Journal of Risk
       15(2), eq. 11.
    .. [2] López de Prado, Lipton & Zoonekynd (2025), "How to Use the Sharpe Ratio", SSRN.
    """
    if n_observations < 2:
        return math.nan
    if form is SharpeForm.REVISED_2025:
        variance = _revised_variance(benchmark, skewness, kurtosis, autocorrelation)
        variance /= n_observations
    else:
        variance = _variance(sharpe, skewness, kurtosis) / (n_observations - 1)
    if not variance > 0 or math.isnan(sharpe - benchmark):
        return math.nan
    return _NORMAL.cdf((sharpe - benchmark) / math.sqrt(variance))


def minimum_track_record_length(
    sharpe: float,
    *,
    benchmark: float = 0.0,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
    confidence: float = 0.95,
) -> float:
    r"""Return how many bars it takes to be confident that a Sharpe ratio exceeds a benchmark.

    .. math:: 1 + \left(1 - \gamma_3 SR + \tfrac{\gamma_4 - 1}{4} SR^2\right)
              \left(\frac{z_c}{SR - SR^*}\right)^2

    Parameters
    ----------
    sharpe : float
        Observed, per bar.
    benchmark : float
        Sharpe ratio SR* to exceed, per bar.
    skewness, kurtosis : float
        Moments of the returns; 0 and 3 for a normal distribution.
    confidence : float
        Probability c wanted, in (0.5, 1).

    Returns
    -------
    float
        Bars; divide by the bars per year for years. NaN if the ratio is not above the benchmark:
        no record is long enough.

    References
    ----------
    .. [1] Bailey & López de Prado (2012), "The Sharpe Ratio Efficient Frontier", Journal of Risk
       15(2), eq. 13.
    """
    if not sharpe > benchmark:
        return math.nan
    variance = _variance(sharpe, skewness, kurtosis)
    return 1 + variance * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def expected_maximum_sharpe(n_trials: float, sharpe_variance: float = 1.0) -> float:
    r"""Return the best Sharpe ratio that luck alone is expected to give among trials.

    .. math:: \sqrt{V} \left((1 - \gamma) \Phi^{-1}(1 - \tfrac{1}{N})
              + \gamma \Phi^{-1}(1 - \tfrac{1}{N e})\right)

    Parameters
    ----------
    n_trials : float
        Independent trials N, e.g. `effective_trials`.
    sharpe_variance : float
        Variance V of the Sharpe ratios over the trials, per bar squared, >= 0.

    Returns
    -------
    float
        Per bar, >= 0; 0 for one trial or fewer.

    Raises
    ------
    ValueError
        If the variance is negative.

    References
    ----------
    .. [1] Bailey & López de Prado (2014), "The Deflated Sharpe Ratio", Journal of Portfolio
       Management 40(5), eq. 1.
    """
    if sharpe_variance < 0:
        raise ValueError(f"sharpe_variance must not be negative, was {sharpe_variance}")
    if n_trials <= 1:
        return 0.0
    usual = _NORMAL.inv_cdf(1 - 1 / n_trials)
    extreme = _NORMAL.inv_cdf(1 - 1 / (n_trials * math.e))
    return math.sqrt(sharpe_variance) * max((1 - _EULER) * usual + _EULER * extreme, 0.0)


def deflated_sharpe(
    sharpe: float,
    *,
    n_observations: int,
    n_trials: float,
    sharpe_variance: float,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
    form: SharpeForm = SharpeForm.PUBLISHED_2012,
) -> float:
    """Return the probability that a Sharpe ratio beats the best that luck would have found.

    Parameters
    ----------
    sharpe : float
        Observed of the chosen trial, per bar.
    n_observations : int
        Bars.
    n_trials : float
        Trials made on the same hypothesis, all of them.
    sharpe_variance : float
        Variance of the Sharpe ratios over the trials, per bar squared.
    skewness, kurtosis : float
        Moments of the chosen trial's returns.
    form : SharpeForm
        Variance used, see `probabilistic_sharpe`.

    Returns
    -------
    float
        In [0, 1]; at least 0.95 is usually asked for.

    References
    ----------
    .. [1] Bailey & López de Prado (2014), "The Deflated Sharpe Ratio", Journal of Portfolio
       Management 40(5), eq. 2.
    """
    return probabilistic_sharpe(
        sharpe,
        n_observations=n_observations,
        benchmark=expected_maximum_sharpe(n_trials, sharpe_variance),
        skewness=skewness,
        kurtosis=kurtosis,
        form=form,
    )


def effective_trials(correlation: FloatArray) -> float:
    r"""Return how many independent trials a family of correlated ones amounts to.

    .. math:: \exp\left(-\sum_i p_i \ln p_i\right), \qquad p_i = \lambda_i / \sum_j \lambda_j

    Parameters
    ----------
    correlation : ndarray of shape (n_trials, n_trials)
        Correlation of the trials' returns, symmetric, finite.

    Returns
    -------
    float
        In [1, n_trials]: the effective rank of the matrix.

    Raises
    ------
    ValueError
        If the matrix is not square or not finite.

    References
    ----------
    .. [1] Roy & Vetterli (2007), "The effective rank", EUSIPCO.
    """
    matrix = np.asarray(correlation, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"correlation must be a finite square matrix, was {matrix.shape}")
    eigenvalues = np.maximum(np.linalg.eigvalsh(matrix), 0.0)
    share = eigenvalues[eigenvalues > 0] / eigenvalues.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def minimum_backtest_years(n_trials: float, *, sharpe: float = 1.0) -> float:
    r"""Return the length below which luck alone gives an annual Sharpe ratio among trials.

    .. math:: (E[\max_N] / SR)^2

    Parameters
    ----------
    n_trials : float
        Independent trials N.
    sharpe : float
        Annualised Sharpe ratio to distinguish from luck, positive.

    Returns
    -------
    float
        Years; 0 for one trial.

    Raises
    ------
    ValueError
        If `sharpe` is not positive.

    References
    ----------
    .. [1] Bailey, Borwein, López de Prado & Zhu (2014), "Pseudo-Mathematics and Financial
       Charlatanism", Notices of the AMS 61(5), theorem 1.
    """
    if not sharpe > 0:
        raise ValueError(f"sharpe must be positive, was {sharpe}")
    return (expected_maximum_sharpe(n_trials) / sharpe) ** 2


def sharpe_floor(sharpe: float, *, n_trials: float, sharpe_variance: float) -> float:
    """Return the Sharpe ratio that may be promised after paying for the choice among trials.

    Parameters
    ----------
    sharpe : float
        Out of sample, per bar.
    n_trials : float
        Trials made on the same hypothesis.
    sharpe_variance : float
        Variance of the Sharpe ratios over the trials, per bar squared.

    Returns
    -------
    float
        Per bar, >= 0.
    """
    return max(0.0, sharpe - expected_maximum_sharpe(n_trials, sharpe_variance))


def _variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2


def _revised_variance(
    sharpe: float, skewness: float, kurtosis: float, autocorrelation: float
) -> float:
    if not -1 < autocorrelation < 1:
        raise ValueError(f"autocorrelation must lie in (-1, 1), was {autocorrelation}")
    first = autocorrelation / (1 - autocorrelation)
    second = autocorrelation**2 / (1 - autocorrelation**2)
    return (
        (1 + 2 * first)
        - (1 + first + second) * skewness * sharpe
        + (1 + 2 * second) * (kurtosis - 1) / 4 * sharpe**2
    )
