"""Did the value at risk hold? Tests of its exceptions against what it promised."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import xlog1py, xlogy
from scipy.stats import binom, chi2

from alphastrat.quant.types import BoolArray, FloatArray


class Zone(StrEnum):
    """The traffic light of the Basel Committee."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """A likelihood-ratio test.

    Attributes
    ----------
    statistic : float
        Twice the log likelihood ratio, >= 0; NaN where it is undefined.
    p_value : float
        Chance of a statistic as large if the value at risk is right.
    """

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How the exceptions of a value at risk compare with its promise.

    Attributes
    ----------
    n_bars, n_exceptions : int
        Bars judged and bars that lost more.
    expected : float
        Exceptions promised, n_bars (1 - confidence).
    unconditional, independence, conditional : LikelihoodRatio
        Kupiec's proportion of failures, Christoffersen's independence, and both together.
    zone : Zone
        Green below the 95th percentile of the binomial distribution, red from the 99.99th.
    """

    n_bars: int
    n_exceptions: int
    expected: float
    unconditional: LikelihoodRatio
    independence: LikelihoodRatio
    conditional: LikelihoodRatio
    zone: Zone


def proportion_of_failures(n_exceptions: int, n_bars: int, *, confidence: float) -> LikelihoodRatio:
    r"""Test whether exceptions are as frequent as promised (Kupiec).

    .. math:: LR_{uc} = -2 \ln \frac{(1-p)^{n-x} p^x}{(1-\hat p)^{n-x} \hat p^x} \sim \chi^2_1

    Parameters
    ----------
    n_exceptions, n_bars : int
        x exceptions in n bars.
    confidence : float
        1 - p, in (0, 1).

    Returns
    -------
    LikelihoodRatio
        With one degree of freedom.

    Raises
    ------
    ValueError
        If the counts or the confidence are impossible.

    References
    ----------
    .. [1] Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models",
       Journal of Derivatives 3(2), eq. (5).
    """
    p = _promise(confidence)
    if not 0 <= n_exceptions <= n_bars or n_bars < 1:
        raise ValueError(f"{n_exceptions} exceptions in {n_bars} bars are impossible")
    return _ratio(
        _log_likelihood(n_exceptions, n_bars, p),
        _log_likelihood(n_exceptions, n_bars, n_exceptions / n_bars),
        degrees=1,
    )


def independence(exceptions: BoolArray) -> LikelihoodRatio:
    r"""Test whether an exception makes another one on the next bar likelier (Christoffersen).

    .. math:: LR_{ind} = -2 \ln \frac{(1-\pi)^{n_{00}+n_{10}} \pi^{n_{01}+n_{11}}}
              {(1-\pi_{01})^{n_{00}} \pi_{01}^{n_{01}} (1-\pi_{11})^{n_{10}} \pi_{11}^{n_{11}}}
              \sim \chi^2_1

    Parameters
    ----------
    exceptions : ndarray of bool of shape (n_bars,)
        In order of time.

    Returns
    -------
    LikelihoodRatio
        NaN without an exception that is followed by a bar, when there is nothing to test.

    References
    ----------
    .. [1] Christoffersen (1998), "Evaluating interval forecasts", International Economic Review
       39(4), eq. (8).
    """
    before, after = exceptions[:-1], exceptions[1:]
    return independence_of_counts(
        int(np.count_nonzero(~before & ~after)),
        int(np.count_nonzero(~before & after)),
        int(np.count_nonzero(before & ~after)),
        int(np.count_nonzero(before & after)),
    )


def independence_of_counts(n00: int, n01: int, n10: int, n11: int) -> LikelihoodRatio:
    """Test independence from the counts of the four transitions, see `independence`.

    Parameters
    ----------
    n00, n01, n10, n11 : int
        Bars by exception on the bar before (first digit) and on the bar itself (second).

    Returns
    -------
    LikelihoodRatio
        NaN if no exception was followed by a bar.
    """
    if n10 + n11 == 0 or n00 + n01 == 0:
        return LikelihoodRatio(float("nan"), float("nan"))
    n_bars, n_exceptions = n00 + n01 + n10 + n11, n01 + n11
    separate = _log_likelihood(n01, n00 + n01, n01 / (n00 + n01))
    separate += _log_likelihood(n11, n10 + n11, n11 / (n10 + n11))
    return _ratio(_log_likelihood(n_exceptions, n_bars, n_exceptions / n_bars), separate, degrees=1)


def conditional(unconditional: LikelihoodRatio, serial: LikelihoodRatio) -> LikelihoodRatio:
    r"""Test frequency and independence together (Christoffersen).

    .. math:: LR_{cc} = LR_{uc} + LR_{ind} \sim \chi^2_2

    Parameters
    ----------
    unconditional, serial : LikelihoodRatio
        Of `proportion_of_failures` and `independence`.

    Returns
    -------
    LikelihoodRatio
        With two degrees of freedom; NaN if one of them is.

    References
    ----------
    .. [1] Christoffersen (1998), section 3.3.
    """
    statistic = unconditional.statistic + serial.statistic
    return LikelihoodRatio(statistic, float(chi2.sf(statistic, 2)))


def zone(n_exceptions: int, n_bars: int, *, confidence: float) -> Zone:
    """Return the traffic light of a number of exceptions.

    Parameters
    ----------
    n_exceptions, n_bars : int
        Exceptions and bars.
    confidence : float
        In (0, 1).

    Returns
    -------
    Zone
        Yellow from the count whose cumulative probability reaches 95 %, red from 99.99 %: 5 and
        10 exceptions in 250 bars at 99 %.

    References
    ----------
    .. [1] Basel Committee (1996), "Supervisory framework for the use of backtesting", table 2.
    """
    cumulative = float(binom.cdf(n_exceptions, n_bars, _promise(confidence)))
    if cumulative < 0.95:
        return Zone.GREEN
    return Zone.YELLOW if cumulative < 0.9999 else Zone.RED


def coverage(returns: FloatArray, forecasts: FloatArray, *, confidence: float) -> Coverage:
    """Judge forecasts of the value at risk by the returns that followed.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns as fractions.
    forecasts : ndarray of shape (n_bars,)
        Value at risk of the *same* bar, made before it, usually negative; NaN where none was.
    confidence : float
        In (0, 1).

    Returns
    -------
    Coverage
        Over the bars that have both a return and a forecast.

    Raises
    ------
    ValueError
        If the two differ in length, or no bar has both.
    """
    if returns.shape != forecasts.shape:
        raise ValueError(f"{returns.shape} returns were judged by {forecasts.shape} forecasts")
    judged = np.isfinite(returns) & np.isfinite(forecasts)
    exceptions = returns[judged] < forecasts[judged]
    n_bars, n_exceptions = int(exceptions.size), int(np.count_nonzero(exceptions))
    frequency = proportion_of_failures(n_exceptions, n_bars, confidence=confidence)
    serial = independence(exceptions)
    return Coverage(
        n_bars=n_bars,
        n_exceptions=n_exceptions,
        expected=n_bars * _promise(confidence),
        unconditional=frequency,
        independence=serial,
        conditional=conditional(frequency, serial),
        zone=zone(n_exceptions, n_bars, confidence=confidence),
    )


def _promise(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), was {confidence}")
    return round(1.0 - confidence, 12)


def _log_likelihood(n_exceptions: int, n_bars: int, p: float) -> float:
    return float(xlogy(n_exceptions, p) + xlog1py(n_bars - n_exceptions, -p))


def _ratio(restricted: float, free: float, *, degrees: int) -> LikelihoodRatio:
    statistic = max(0.0, 2.0 * (free - restricted))
    return LikelihoodRatio(statistic, float(chi2.sf(statistic, degrees)))
