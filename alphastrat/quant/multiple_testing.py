"""Control of false discoveries over many tests, at once or in a stream."""

from __future__ import annotations

import math

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray

# Normalises the sequence below to a sum of 1 over all positive integers.
_LOND_CONSTANT = 0.07720838


def benjamini_hochberg(p_values: FloatArray, *, rate: float) -> BoolArray:
    r"""Return which hypotheses to reject at a false discovery rate.

    Rejects the k smallest p-values, k the largest with :math:`p_{(k)} \le q k / m`.

    Parameters
    ----------
    p_values : ndarray of shape (n_tests,)
        In [0, 1].
    rate : float
        False discovery rate q, in (0, 1).

    Returns
    -------
    ndarray of bool of shape (n_tests,)
        In the order given. Valid for independent or positively dependent tests.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1], or the rate outside (0, 1).

    References
    ----------
    .. [1] Benjamini & Hochberg (1995), "Controlling the False Discovery Rate", Journal of the
       Royal Statistical Society B 57(1), section 3.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    _check_rate(rate)
    order = np.argsort(values, kind="stable")
    return _reject_smallest(
        values[order] <= rate * np.arange(1, values.size + 1) / values.size, order
    )


def e_benjamini_hochberg(e_values: FloatArray, *, rate: float) -> BoolArray:
    r"""Return which hypotheses to reject by their e-values at a false discovery rate.

    Rejects the k largest e-values, k the largest with :math:`e_{(k)} \ge m / (q k)`.

    Parameters
    ----------
    e_values : ndarray of shape (n_tests,)
        Evidence against each hypothesis, >= 0, with expectation at most 1 under it.
    rate : float
        False discovery rate q, in (0, 1).

    Returns
    -------
    ndarray of bool of shape (n_tests,)
        In the order given. Valid under any dependence.

    Raises
    ------
    ValueError
        If an e-value is NaN or negative, or the rate outside (0, 1).

    References
    ----------
    .. [1] Wang & Ramdas (2022), "False discovery rate control with e-values", Journal of the
       Royal Statistical Society B 84(3), section 4.
    """
    values = np.asarray(e_values, dtype=np.float64)
    if not (values >= 0).all():
        raise ValueError("e-values must not be negative")
    _check_rate(rate)
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(1, values.size + 1)
    return _reject_smallest(values[order] * rate * ranks >= values.size, order)


def lond_threshold(position: int, n_discoveries: int, *, rate: float) -> float:
    r"""Return the level of the next test of a stream.

    .. math:: \alpha_i = \alpha \gamma_i (D_{i-1} + 1), \qquad
              \gamma_i = 0.0772 \frac{\ln \max(i, 2)}{i\, e^{\sqrt{\ln i}}}

    Parameters
    ----------
    position : int
        Number of the test in the stream, from 1.
    n_discoveries : int
        Rejections before it.
    rate : float
        False discovery rate, in (0, 1).

    Returns
    -------
    float
        Reject if the p-value is at most this, or the e-value at least its reciprocal.

    Raises
    ------
    ValueError
        If `position` is below 1 or the rate outside (0, 1).

    References
    ----------
    .. [1] Javanmard & Montanari (2018), "Online rules for control of false discovery rate and
       false discovery exceedance", Annals of Statistics 46(2), eq. 31.
    .. [2] Xu & Ramdas (2024), "Online multiple testing with e-values", AISTATS, for e-LOND.
    """
    if position < 1:
        raise ValueError(f"position must be at least 1, was {position}")
    _check_rate(rate)
    logarithm = math.log(position)
    gamma = (
        _LOND_CONSTANT * math.log(max(position, 2)) / (position * math.exp(math.sqrt(logarithm)))
    )
    return rate * gamma * (n_discoveries + 1)


def lond(p_values: FloatArray, *, rate: float) -> tuple[FloatArray, BoolArray]:
    """Return the levels and rejections of a stream of tests.

    Parameters
    ----------
    p_values : ndarray of shape (n_tests,)
        In the order the tests arrived.
    rate : float
        False discovery rate, in (0, 1).

    Returns
    -------
    thresholds : ndarray of shape (n_tests,)
        Level of each test, see `lond_threshold`.
    rejected : ndarray of bool of shape (n_tests,)
        Whether its p-value is at most the level.

    References
    ----------
    .. [1] Javanmard & Montanari (2018), "Online rules for control of false discovery rate and
       false discovery exceedance", Annals of Statistics 46(2).
    """
    thresholds = np.empty(len(p_values))
    rejected = np.zeros(len(p_values), dtype=np.bool_)
    discoveries = 0
    for number, p_value in enumerate(p_values):
        thresholds[number] = lond_threshold(number + 1, discoveries, rate=rate)
        rejected[number] = p_value <= thresholds[number]
        discoveries += int(rejected[number])
    return thresholds, rejected


def _reject_smallest(passes: BoolArray, order: np.typing.NDArray[np.intp]) -> BoolArray:
    rejected = np.zeros(passes.size, dtype=np.bool_)
    if passes.any():
        rejected[order[: int(np.flatnonzero(passes)[-1]) + 1]] = True
    return rejected


def _check_rate(rate: float) -> None:
    if not 0.0 < rate < 1.0:
        raise ValueError(f"rate must lie in (0, 1), was {rate}")
