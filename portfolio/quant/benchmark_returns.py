"""What a benchmark did between the sessions of a portfolio, and what its capital made there."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray


def between_sessions(close: FloatArray, sessions: IntArray, wanted: IntArray) -> FloatArray:
    r"""Return the mean return of instruments from each wanted session to the next.

    .. math:: b_t = \frac{1}{|K_t|} \sum_{k \in K_t} \frac{C_{t,k}}{C_{t-1,k}} - 1

    over the instruments :math:`K_t` with a price at both ends: equal weights, restored at every
    session.

    Parameters
    ----------
    close : ndarray of shape (n_bars, n_instruments)
        Prices; NaN where an instrument has no bar, for which its newest price stands.
    sessions : ndarray of shape (n_bars,)
        Session of each bar in days, ascending.
    wanted : ndarray of shape (n_sessions,)
        Sessions of the portfolio in days, ascending.

    Returns
    -------
    ndarray of shape (n_sessions,)
        Fractions; the first from the close before it. NaN where no instrument has both prices,
        and after the last bar.
    """
    returns = np.full((len(wanted), close.shape[1]), np.nan)
    if not len(close) or not len(wanted):
        return returns.sum(axis=1) if len(wanted) else np.zeros(0)
    newest = np.where(np.isfinite(close), np.arange(len(close))[:, None], 0)
    filled = np.take_along_axis(close, np.maximum.accumulate(newest, axis=0), axis=0)
    place = np.searchsorted(sessions, wanted, side="right") - 1
    before = np.concatenate([[np.searchsorted(sessions, wanted[0], side="left") - 1], place[:-1]])
    both = (place >= 0) & (before >= 0) & (wanted <= sessions[-1])
    returns[both] = filled[place[both]] / filled[before[both]] - 1.0
    known = np.isfinite(returns)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, returns, 0.0).sum(axis=1) / known.sum(axis=1))


def same_capital(
    start: float, flows: FloatArray, after_close: FloatArray, returns: FloatArray
) -> FloatArray:
    r"""Return what the portfolio's capital would be worth in the benchmark.

    .. math:: V_t = (V_{t-1} + F_t)(1 + b_t) + A_t

    Parameters
    ----------
    start : float
        Capital before the first session, account currency.
    flows, after_close : ndarray of shape (n_sessions,)
        Capital that came before each session and after its close; negative for what left.
    returns : ndarray of shape (n_sessions,)
        Of the benchmark, fractions; NaN counts as no change.

    Returns
    -------
    ndarray of shape (n_sessions,)
        Account currency at each close.
    """
    worth, value = np.empty(len(returns)), start
    for t, (flow, after, gained) in enumerate(
        zip(flows, after_close, np.nan_to_num(returns), strict=True)
    ):
        value = (value + flow) * (1.0 + gained) + after
        worth[t] = value
    return worth
