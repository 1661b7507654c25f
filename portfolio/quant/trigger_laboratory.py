"""What each rebalancing policy would have done to a portfolio, replayed over its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from alphastrat.quant.return_measures import (
    annual_return,
    annual_volatility,
    max_drawdown,
    sharpe_ratio,
)
from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant.rebalance_policies import (
    CANDIDATES,
    Destination,
    RebalancePolicy,
    Trigger,
    calendar_closes,
)
from portfolio.quant.rebalancing import ReplayTerms, replay

COVARIANCE_DECAY = 0.97
RISK_WARM_UP = 60
REASONS = (
    Trigger.CALENDAR,
    Trigger.BAND,
    Trigger.RISK,
    Trigger.SHARPE,
    Trigger.STATUS,
    Trigger.VOLATILITY,
)


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy over the history.

    Attributes
    ----------
    name : str
        Of the policy.
    policy : RebalancePolicy
        What was replayed.
    n_rebalances : int
        How often it traded.
    by_trigger : dict of Trigger to int
        Which trigger asked, and how often.
    turnover : float
        Sum of the absolute weight changes per year, both sides.
    cost : float
        Cost per year as a fraction of equity, >= 0: an amount paid.
    tracking_error : float
        Annual deviation from the portfolio that is at its targets at every bar, free of cost.
    total_return, annual_return, volatility, sharpe, max_drawdown : float
        Of the net returns; the drawdown is negative.
    returns : ndarray of shape (n_bars,)
        Net of costs.
    turned : ndarray of shape (n_bars,)
        Turnover at each close.
    final_weights : ndarray of shape (n_strategies + 1,)
        Cash last.
    """

    name: str
    policy: RebalancePolicy
    n_rebalances: int
    by_trigger: dict[Trigger, int]
    turnover: float
    cost: float
    tracking_error: float
    total_return: float
    annual_return: float
    volatility: float
    sharpe: float
    max_drawdown: float
    returns: FloatArray
    turned: FloatArray
    final_weights: FloatArray


def compare_policies(
    returns: FloatArray,
    targets: FloatArray,
    days: Sequence[date],
    *,
    cost: float,
    periods_per_year: float,
    policies: Mapping[str, RebalancePolicy] | None = None,
    target_sharpe: float | None = None,
    active: BoolArray | None = None,
) -> list[PolicyResult]:
    """Replay rebalancing policies over a history of strategy returns.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Simple returns per bar; a missing one (NaN) counts as 0.
    targets : ndarray of shape (n_strategies,)
        Target weights; what they leave of 1 is cash.
    days : sequence of date of length n_bars
        Session of each bar.
    cost : float
        Proportional cost of one side, a fraction of the amount moved.
    periods_per_year : float
        Bars per year.
    policies : mapping of str to RebalancePolicy, optional
        What to compare; `CANDIDATES` by default.
    target_sharpe : float, optional
        Annual Sharpe ratio aimed at; without it the Sharpe trigger never asks.
    active : ndarray of bool of shape (n_bars, n_strategies), optional
        False where a strategy was known to be suspended.

    Returns
    -------
    list of PolicyResult
        In the order of `policies`.

    Raises
    ------
    ValueError
        If the shapes do not fit or there are fewer than two bars.

    Notes
    -----
    A decision at a close knows nothing later; its trades are done at that close. A real rebalance
    is done a little later, at prices that drifted on: the replay flatters every policy alike.
    """
    n_bars, n = returns.shape
    if n_bars < 2 or len(days) != n_bars or targets.shape != (n,):
        raise ValueError(f"{returns.shape} returns, {len(days)} days, {targets.shape} targets")
    full = np.column_stack([np.nan_to_num(returns), np.zeros(n_bars)])
    aims = np.append(targets, 1.0 - targets.sum())
    alive = np.ones((n_bars, n), dtype=bool) if active is None else active
    history = _History(full, aims, days, alive, cost, periods_per_year, target_sharpe)
    chosen = CANDIDATES if policies is None else policies
    return [_replayed(history, name, policy) for name, policy in chosen.items()]


@dataclass(frozen=True, slots=True)
class _History:
    returns: FloatArray
    targets: FloatArray
    days: Sequence[date]
    active: BoolArray
    cost: float
    periods_per_year: float
    target_sharpe: float | None

    @property
    def ideal(self) -> FloatArray:
        """Returns of the portfolio that is always at its targets, suspended strategies in cash."""
        n = self.active.shape[1]
        return np.asarray((self.returns[:, :n] * self.active) @ self.targets[:n])


def _replayed(history: _History, name: str, policy: RebalancePolicy) -> PolicyResult:
    widths = policy.half_widths(history.targets, cost=history.cost)
    widths[-1] = np.inf
    active = history.active if policy.on_status else np.ones_like(history.active)
    flags = np.column_stack([active, calendar_closes(history.days, policy.calendar)])
    net, turned, reasons, final = replay(
        history.returns, history.targets, flags, widths, _terms(history, policy)
    )
    years = len(net) / history.periods_per_year
    deviation = float(np.std(net - history.ideal, ddof=1))
    return PolicyResult(
        name=name,
        policy=policy,
        n_rebalances=int(np.count_nonzero(reasons)),
        by_trigger=_counts(reasons),
        turnover=float(turned.sum()) / years,
        cost=float(turned.sum()) * history.cost / years,
        tracking_error=deviation * history.periods_per_year**0.5,
        total_return=float(np.prod(1.0 + net) - 1.0),
        annual_return=float(annual_return(net, periods_per_year=history.periods_per_year)),
        volatility=float(annual_volatility(net, periods_per_year=history.periods_per_year)),
        sharpe=float(sharpe_ratio(net, periods_per_year=history.periods_per_year)),
        max_drawdown=float(max_drawdown(net)),
        returns=net,
        turned=turned,
        final_weights=final,
    )


def _terms(history: _History, policy: RebalancePolicy) -> ReplayTerms:
    least_sharpe = -np.inf
    target = history.target_sharpe
    if policy.sharpe_share is not None and target is not None and target > 0:
        least_sharpe = policy.sharpe_share * target / history.periods_per_year**0.5
    return ReplayTerms(
        cost=float(history.cost),
        trades_to_edge=policy.destination is Destination.EDGE,
        risk_band=np.inf if policy.risk_band is None else float(policy.risk_band),
        covariance_decay=COVARIANCE_DECAY,
        risk_warm_up=RISK_WARM_UP,
        least_sharpe=float(least_sharpe),
        sharpe_window=policy.sharpe_window,
        rest_bars=policy.rest_bars,
        volatility_low=float(policy.volatility_low),
        volatility_high=np.inf if policy.volatility_high is None else float(policy.volatility_high),
        volatility_window=policy.volatility_window,
        volatility_long=policy.volatility_long,
    )


def _counts(reasons: FloatArray) -> dict[Trigger, int]:
    found = {trigger: int(np.count_nonzero(reasons == i + 1)) for i, trigger in enumerate(REASONS)}
    return {trigger: n for trigger, n in found.items() if n}
