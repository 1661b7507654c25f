"""Drift, bands, the trades back to a target, and what they cost. Compiled scalar arithmetic.

Weights include cash as one more column where a portfolio keeps some: weights and targets have the
same sum, so that what one strategy gives up another one gets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant.compiled import compiled


def drifted_weights(weights: FloatArray, returns: FloatArray) -> FloatArray:
    r"""Return what weights have become after one bar, :math:`w_i (1 + r_i) / (1 + w'r + \dots)`.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Fractions of equity before the bar.
    returns : ndarray of shape (n,)
        Simple returns of the bar.

    Returns
    -------
    ndarray of shape (n,)
        With the same sum as before.
    """
    grown = weights * (1.0 + returns)
    total = float(grown.sum())
    return np.asarray(grown * (float(weights.sum()) / total)) if total != 0.0 else grown


def turnover(before: FloatArray, after: FloatArray) -> float:
    r"""Return the turnover of going from one set of weights to another, :math:`\sum |\Delta w|`.

    Parameters
    ----------
    before, after : ndarray of shape (n,)
        Fractions of equity. Leave cash out if moving it costs nothing.

    Returns
    -------
    float
        Both sides counted: moving 5 % from one strategy to another is 0.10.
    """
    return float(np.abs(after - before).sum())


def absolute_band(targets: FloatArray, width: float) -> FloatArray:
    """Return half-widths of `width` around every target.

    Parameters
    ----------
    targets : ndarray of shape (n,)
        Target weights.
    width : float
        Fraction of equity, > 0: 0.05 is five percentage points.

    Returns
    -------
    ndarray of shape (n,)
        Half-widths.
    """
    return np.full(targets.shape, _positive("band", width))


def relative_band(targets: FloatArray, width: float) -> FloatArray:
    """Return half-widths in proportion to every target.

    Parameters
    ----------
    targets : ndarray of shape (n,)
        Target weights.
    width : float
        Share of the target, > 0: 0.25 lets 20 % drift between 15 and 25 %.

    Returns
    -------
    ndarray of shape (n,)
        Half-widths; 0 for a target of 0, from which any weight is a breach.
    """
    return _positive("band", width) * np.abs(targets)


def no_trade_band(targets: FloatArray, *, cost: float, risk_aversion: float = 3.0) -> FloatArray:
    r"""Return the half-widths inside which trading costs more than it brings.

    .. math:: \Delta_i = \left(\frac{3 c}{2 \gamma} w_i^2 (1 - w_i)^2\right)^{1/3}

    Parameters
    ----------
    targets : ndarray of shape (n,)
        Target weights w.
    cost : float
        Proportional cost c of one side, a fraction of the amount traded, >= 0.
    risk_aversion : float
        Relative risk aversion gamma, > 0.

    Returns
    -------
    ndarray of shape (n,)
        Half-widths; 0 at targets of 0 and 1.

    References
    ----------
    .. [1] Davis & Norman (1990), "Portfolio selection with transaction costs", Mathematics of
       Operations Research 15(4).
    .. [2] Janecek & Shreve (2004), "Asymptotic analysis for optimal investment and consumption
       with transaction costs", Finance and Stochastics 8(2), theorem 2: the width to first order.
    """
    if not 0.0 <= cost < 1.0:
        raise ValueError(f"cost is a fraction in [0, 1), was {cost}")
    aversion = _positive("risk aversion", risk_aversion)
    return np.cbrt(1.5 * cost / aversion * targets**2 * (1.0 - targets) ** 2)


@compiled
def is_outside(weights: FloatArray, targets: FloatArray, half_widths: FloatArray) -> bool:
    """Return whether a weight has left its band.

    Parameters
    ----------
    weights, targets, half_widths : ndarray of shape (n,)
        Fractions of equity; an infinite half-width never binds.

    Returns
    -------
    bool
        True if any weight is further from its target than its half-width.
    """
    return bool((np.abs(weights - targets) > half_widths + 1e-12).any())


@compiled
def to_edge(weights: FloatArray, targets: FloatArray, half_widths: FloatArray) -> FloatArray:
    """Return the weights after trading only as far as the bands ask.

    What lies outside goes to its edge. What that frees (or needs) is shared among those on the
    other side of their targets, in proportion to what they lack, so that none passes its target
    and the sum stays.

    Parameters
    ----------
    weights, targets, half_widths : ndarray of shape (n,)
        Fractions of equity; weights and targets have the same sum.

    Returns
    -------
    ndarray of shape (n,)
        Inside every band, with the sum of `weights`.
    """
    edged = weights.copy()
    over, under = 0.0, 0.0
    for i in range(weights.size):
        drift = weights[i] - targets[i]
        if drift > half_widths[i]:
            edged[i] = targets[i] + half_widths[i]
            over += weights[i] - edged[i]
        elif drift < -half_widths[i]:
            edged[i] = targets[i] - half_widths[i]
            under += edged[i] - weights[i]
    rest = over - under
    if rest == 0.0:
        return edged
    # Freed weight goes to those below their targets, missing weight comes from those above.
    direction = 1.0 if rest > 0.0 else -1.0
    room = 0.0
    for i in range(weights.size):
        room += max(0.0, direction * (targets[i] - edged[i]))
    if room > 0.0:
        for i in range(weights.size):
            edged[i] += rest * max(0.0, direction * (targets[i] - edged[i])) / room
    return edged


@compiled
def risk_drift(weights: FloatArray, targets: FloatArray, covariance: FloatArray) -> float:
    r"""Return how far a share of the risk is from that of the target weights, relative to it.

    .. math:: \max_i \frac{|s_i(w) - s_i(t)|}{s_i(t)}, \qquad
              s_i(w) = \frac{w_i (\Sigma w)_i}{w' \Sigma w}

    Parameters
    ----------
    weights, targets : ndarray of shape (n,)
        Fractions of equity.
    covariance : ndarray of shape (n, n)
        Covariances of returns.

    Returns
    -------
    float
        0.25: some strategy carries a quarter more, or less, of the risk than intended. Only
        strategies whose intended share is above a thousandth count; 0 without risk.
    """
    now = covariance @ weights
    meant = covariance @ targets
    variance, intended = weights @ now, targets @ meant
    if variance <= 0.0 or intended <= 0.0:
        return 0.0
    largest = 0.0
    for i in range(weights.size):
        share = targets[i] * meant[i] / intended
        if share > 1e-3:
            largest = max(largest, abs(weights[i] * now[i] / variance - share) / share)
    return largest


@compiled
def volatility_ratio(returns: FloatArray, short: int, long: int) -> float:
    r"""Return the realised volatility of the newest bars over its own long-run level.

    .. math:: \sqrt{\frac{\frac{1}{s} \sum_{t > T - s} r_t^2}
              {\frac{1}{l} \sum_{t > T - l} r_t^2}}

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns per bar, oldest first; their mean counts as 0.
    short, long : int
        Windows s and l in bars; a history shorter than the long one is its own.

    Returns
    -------
    float
        1 where the newest bars are as volatile as usual; NaN with fewer bars than three short
        windows, or where nothing has moved.

    References
    ----------
    .. [1] Andersen, Bollerslev, Diebold & Labys (2003), "Modeling and forecasting realized
       volatility", Econometrica 71(2): the sum of squares.
    .. [2] Moreira & Muir (2017), "Volatility-managed portfolios", Journal of Finance 72(4): a
       month of daily squares against the long run says how much risk to take.
    """
    n_bars = returns.size
    if n_bars < 3 * short:
        return np.nan
    usual = (returns[max(0, n_bars - long) :] ** 2).mean()
    return np.sqrt((returns[n_bars - short :] ** 2).mean() / usual) if usual > 0.0 else np.nan


@compiled
def volatility_regime(ratio: float, low: float, high: float) -> int:
    """Return -1 below a lower bound, 1 above an upper one, 0 between them or where unknown."""
    if ratio > high:
        return 1
    return -1 if ratio < low else 0


class ReplayTerms(NamedTuple):
    """Scalars of the policy that is replayed; the bound of a trigger that is off is infinite.

    `cost` is that of one side, `least_sharpe` per bar and -infinite where off; windows, `rest_bars`
    after a rebalance and `risk_warm_up` before risk is known are bars.
    """

    cost: float
    trades_to_edge: bool
    risk_band: float
    covariance_decay: float
    risk_warm_up: int
    least_sharpe: float
    sharpe_window: int
    rest_bars: int
    volatility_low: float
    volatility_high: float
    volatility_window: int
    volatility_long: int


@compiled
def replay(
    returns: FloatArray,
    targets: FloatArray,
    flags: BoolArray,
    half_widths: FloatArray,
    terms: ReplayTerms,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Replay one rebalancing policy over a history, bar by bar.

    The decision at the close of a bar knows that bar and the ones before; its trades are done at
    that close and act from the next bar on. The account starts at its targets, free of cost.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n)
        Simple returns; cash, the last column, earns 0. No NaN.
    targets : ndarray of shape (n,)
        Target weights that sum to 1.
    flags : ndarray of bool of shape (n_bars, n)
        Per strategy: whether it is active as far as is known at the close; its target is 0 and
        goes to cash while it is not. In the column of cash: whether the calendar asks.
    half_widths : ndarray of shape (n,)
        Bands of the weights; infinite where there is none.
    terms : ReplayTerms

    Returns
    -------
    tuple of four ndarrays
        Net return of each bar, turnover at each close (cash left out), reason of the rebalance
        (0 none, 1 calendar, 2 band, 3 risk, 4 Sharpe, 5 status, 6 volatility), and the final
        weights.
    """
    n_bars, n = returns.shape
    net, turned, reasons = np.zeros(n_bars), np.zeros(n_bars), np.zeros(n_bars)
    covariance = np.zeros((n, n))
    weights, aims = targets.copy(), targets.copy()
    since, regime_before = terms.rest_bars, 0
    for t in range(n_bars):
        net[t] = _hold(weights, returns[t])
        if np.isfinite(terms.risk_band):
            _learn(covariance, returns[t], terms.covariance_decay)
        regime = _regime(net[: t + 1], terms)
        since += 1
        if _suspend(aims, targets, flags[t]):
            reason = 5
        elif since <= terms.rest_bars:
            reason = 0
        elif flags[t, n - 1]:
            reason = 1
        elif is_outside(weights, aims, half_widths):
            reason = 2
        elif t >= terms.risk_warm_up and _drifts(weights, aims, covariance, terms):
            reason = 3
        else:
            reason = _reason_of_results(net[: t + 1], regime - regime_before, terms)
        if reason == 0:
            continue
        regime_before, since = regime, 0
        to_band = terms.trades_to_edge and reason == 2
        after = to_edge(weights, aims, half_widths) if to_band else aims.copy()
        turned[t] = np.abs(after - weights)[: n - 1].sum()
        reasons[t] = reason
        # Costs are paid out of equity at the close, and every weight shrinks alike.
        net[t] = (1.0 + net[t]) * (1.0 - terms.cost * turned[t]) - 1.0
        weights = after
    return net, turned, reasons, weights


@compiled
def _hold(weights: FloatArray, returns: FloatArray) -> float:
    """Let weights drift over one bar, in place; return the portfolio's return."""
    growth = (weights * returns).sum()
    if growth <= -1.0:
        weights[:] = 0.0
        weights[-1] = 1.0
        return -1.0
    for i in range(weights.size):
        weights[i] *= (1.0 + returns[i]) / (1.0 + growth)
    return growth


@compiled
def _learn(covariance: FloatArray, returns: FloatArray, decay: float) -> None:
    """Add one bar to an exponentially weighted covariance, in place; means count as 0."""
    for i in range(returns.size):
        for j in range(returns.size):
            covariance[i, j] = decay * covariance[i, j] + (1.0 - decay) * returns[i] * returns[j]


@compiled
def _suspend(aims: FloatArray, targets: FloatArray, active: BoolArray) -> bool:
    """Give the target of inactive strategies to cash, in place; return whether that is news."""
    is_news = False
    for i in range(aims.size - 1):
        aim = targets[i] if active[i] else 0.0
        if aim != aims[i]:
            aims[-1] += aims[i] - aim
            aims[i] = aim
            is_news = True
    return is_news


@compiled
def _drifts(
    weights: FloatArray, aims: FloatArray, covariance: FloatArray, terms: ReplayTerms
) -> bool:
    """Return whether a share of risk has left its band; never where the policy does not ask."""
    if not np.isfinite(terms.risk_band):
        return False
    return risk_drift(weights, aims, covariance) > terms.risk_band


@compiled
def _reason_of_results(net: FloatArray, regime_change: int, terms: ReplayTerms) -> int:
    """Return which of the triggers that look at results asks; 0 where none does."""
    if _is_poor(net, terms.least_sharpe, terms.sharpe_window):
        return 4
    return 6 if regime_change != 0 else 0


@compiled
def _regime(net: FloatArray, terms: ReplayTerms) -> int:
    """Return the regime of the newest bars; 0 where the policy does not ask."""
    if not np.isfinite(terms.volatility_high):
        return 0
    ratio = volatility_ratio(net, terms.volatility_window, terms.volatility_long)
    return volatility_regime(ratio, terms.volatility_low, terms.volatility_high)


@compiled
def _is_poor(net: FloatArray, least_sharpe: float, window: int) -> bool:
    """Return whether the Sharpe ratio per bar over the last `window` bars is below a floor."""
    if not np.isfinite(least_sharpe) or net.size < window:
        return False
    recent = net[-window:]
    deviation = recent.std()
    return deviation > 0.0 and recent.mean() < least_sharpe * deviation


def _positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} must be positive, was {value}")
    return float(value)
