"""When a portfolio is rebalanced, and how far: one policy, its triggers, and what they say now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import pairwise

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant.rebalancing import (
    absolute_band,
    is_outside,
    no_trade_band,
    relative_band,
    risk_drift,
    to_edge,
    volatility_regime,
)


class Calendar(StrEnum):
    """How often a rebalance is due, whatever happened."""

    NEVER = "never"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


class Destination(StrEnum):
    """How far a drift is traded back."""

    TARGET = "target"
    EDGE = "edge"


class Trigger(StrEnum):
    """What asks for a rebalance."""

    CALENDAR = "calendar"
    BAND = "band"
    RISK = "risk"
    SHARPE = "sharpe"
    VOLATILITY = "volatility"
    STATUS = "status"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class RebalancePolicy:
    """Triggers, any of which asks for a rebalance; None or NEVER: that one is off.

    Attributes
    ----------
    calendar : Calendar
        At the first close of a new week, month, quarter or year.
    absolute : float or None
        Half-width of the band around every target, as a fraction of equity.
    relative : float or None
        Half-width as a share of the target.
    is_cost_aware : bool
        Half-widths from costs (`no_trade_band`).
    risk_aversion : float
        Of the cost-aware band.
    risk_band : float or None
        Relative distance of a risk contribution from the intended one.
    sharpe_share : float or None
        Share of the target Sharpe ratio below which the portfolio is rebalanced.
    sharpe_window : int
        Bars the Sharpe ratio is measured over.
    volatility_high : float or None
        Ratio of realised volatility to its long-run level above which the regime is turbulent.
        The portfolio is rebalanced when the regime is another one than at the last rebalance.
    volatility_low : float
        The ratio below which it is calm; 0: never.
    volatility_window, volatility_long : int
        Bars of the realised volatility, and of its long-run level.
    on_status : bool
        Whether a strategy that is degraded or suspended asks for a rebalance.
    destination : Destination
        Where a breach of a band is traded to; everything else goes to the target.
    rest_bars : int
        Bars after a rebalance in which only a status asks for the next.
    """

    calendar: Calendar = Calendar.NEVER
    absolute: float | None = None
    relative: float | None = None
    is_cost_aware: bool = False
    risk_aversion: float = 3.0
    risk_band: float | None = None
    sharpe_share: float | None = None
    sharpe_window: int = 63
    volatility_high: float | None = None
    volatility_low: float = 0.5
    volatility_window: int = 21
    volatility_long: int = 252
    on_status: bool = True
    destination: Destination = Destination.TARGET
    rest_bars: int = 0

    def __post_init__(self) -> None:
        for name in ("absolute", "relative", "risk_band", "sharpe_share", "volatility_high"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, was {value}")
        if self.sharpe_window < 20 or self.rest_bars < 0:
            raise ValueError(f"{self.sharpe_window} or {self.rest_bars} bars are too few")
        if not 5 <= self.volatility_window <= self.volatility_long / 3:
            raise ValueError(
                f"a volatility needs at least 5 bars and three times as many for its long-run "
                f"level, were {self.volatility_window} and {self.volatility_long}"
            )
        if not 0 <= self.volatility_low < (self.volatility_high or math.inf):
            raise ValueError(
                f"a calm regime lies below a turbulent one, were {self.volatility_low} and "
                f"{self.volatility_high}"
            )

    def half_widths(self, targets: FloatArray, *, cost: float) -> FloatArray:
        """Return the tightest band of every target.

        Parameters
        ----------
        targets : ndarray of shape (n,)
            Target weights.
        cost : float
            Proportional cost of one side.

        Returns
        -------
        ndarray of shape (n,)
            Half-widths; infinite without a band.
        """
        widths = np.full(targets.shape, np.inf)
        if self.absolute is not None:
            widths = np.minimum(widths, absolute_band(targets, self.absolute))
        if self.relative is not None:
            widths = np.minimum(widths, relative_band(targets, self.relative))
        if self.is_cost_aware:
            region = no_trade_band(targets, cost=cost, risk_aversion=self.risk_aversion)
            widths = np.minimum(widths, region)
        return widths


DEFAULT_POLICY = RebalancePolicy(
    absolute=0.05, sharpe_share=0.8, destination=Destination.TARGET, rest_bars=5
)

# What the laboratory compares: a name and a policy each.
CANDIDATES: dict[str, RebalancePolicy] = {
    "Never": RebalancePolicy(),
    "Weekly": RebalancePolicy(calendar=Calendar.WEEKLY),
    "Monthly": RebalancePolicy(calendar=Calendar.MONTHLY),
    "Quarterly": RebalancePolicy(calendar=Calendar.QUARTERLY),
    "Yearly": RebalancePolicy(calendar=Calendar.YEARLY),
    "Band of 2.5 points": RebalancePolicy(absolute=0.025),
    "Band of 5 points": RebalancePolicy(absolute=0.05),
    "Band of 5 points, to the edge": RebalancePolicy(absolute=0.05, destination=Destination.EDGE),
    "Band of 25 % of target": RebalancePolicy(relative=0.25),
    "Risk share off by 25 %": RebalancePolicy(risk_band=0.25, rest_bars=5),
    "No-trade region, to the edge": RebalancePolicy(
        is_cost_aware=True, destination=Destination.EDGE
    ),
    "Sharpe below 80 % of target": RebalancePolicy(sharpe_share=0.8, rest_bars=20),
    "Volatility regime changes": RebalancePolicy(volatility_high=1.5, rest_bars=5),
}


@dataclass(frozen=True, slots=True)
class PortfolioState:
    """What the triggers look at, as it is now; cash is the last element of the weights.

    Attributes
    ----------
    weights, targets : ndarray of shape (n,)
        Fractions of equity that sum to 1.
    covariance : ndarray of shape (n, n) or None
        Of returns per bar; None where it is not known.
    sharpe, target_sharpe : float or None
        Annual, over the policy's window, and what was aimed at.
    volatility_ratio, ratio_before : float or None
        Realised volatility over its long-run level, now and at the last rebalance.
    n_inactive : int
        Strategies with capital that are degraded, suspended or retired.
    last_rebalanced_on : date or None
        Session of the last rebalance.
    bars_since : int or None
        Bars since then.
    """

    weights: FloatArray
    targets: FloatArray
    covariance: FloatArray | None = None
    sharpe: float | None = None
    target_sharpe: float | None = None
    volatility_ratio: float | None = None
    ratio_before: float | None = None
    n_inactive: int = 0
    last_rebalanced_on: date | None = None
    bars_since: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one trigger says now.

    Attributes
    ----------
    trigger : Trigger
        Which.
    is_on, is_due : bool
        Whether the policy uses it, and whether it asks for a rebalance.
    value, limit : float or None
        What it measures and where it asks: a fraction, or a Sharpe or volatility ratio.
    low : float or None
        The lower bound of a measure that has two.
    """

    trigger: Trigger
    is_on: bool
    is_due: bool
    value: float | None
    limit: float | None
    low: float | None = None


def calendar_closes(days: Sequence[date], calendar: Calendar) -> BoolArray:
    """Return the closes of a history at which the calendar asks for a rebalance.

    Parameters
    ----------
    days : sequence of date
        Session of each bar, rising.
    calendar : Calendar
        How often.

    Returns
    -------
    ndarray of bool
        True at the first bar of each new period, the very first bar left out.
    """
    due = np.zeros(len(days), dtype=bool)
    if calendar is not Calendar.NEVER:
        periods = [_period(day, calendar) for day in days]
        due[1:] = [now != before for before, now in pairwise(periods)]
    return due


def readings(
    policy: RebalancePolicy, state: PortfolioState, *, cost: float, on: date
) -> list[Reading]:
    """Return what every trigger says about the portfolio of today.

    Parameters
    ----------
    policy : RebalancePolicy
        Which triggers are on, and where they ask.
    state : PortfolioState
        What they look at.
    cost : float
        Proportional cost of one side, for the cost-aware band.
    on : date
        Today's session.

    Returns
    -------
    list of Reading
        One per trigger, in the order of `Trigger` without MANUAL; those off are never due, and in
        the rest after a rebalance only the status is.
    """
    rests = state.bars_since is not None and state.bars_since <= policy.rest_bars
    found = [
        _calendar_reading(policy, state, on),
        _band_reading(policy, state, cost),
        _risk_reading(policy, state),
        _sharpe_reading(policy, state),
        _volatility_reading(policy, state),
    ]
    if rests:
        found = [replace(reading, is_due=False) for reading in found]
    is_due = policy.on_status and state.n_inactive > 0
    status = Reading(Trigger.STATUS, policy.on_status, is_due, float(state.n_inactive), 0.0)
    return [*found, status]


def weights_after(
    policy: RebalancePolicy, state: PortfolioState, *, cost: float, trigger: Trigger
) -> FloatArray:
    """Return the weights that a rebalance aims at.

    Parameters
    ----------
    policy : RebalancePolicy
        Its destination counts for a breach of a band.
    state : PortfolioState
        Weights and targets now.
    cost : float
        Proportional cost of one side.
    trigger : Trigger
        What asked.

    Returns
    -------
    ndarray of shape (n,)
        With the sum of the weights now.
    """
    if trigger is Trigger.BAND and policy.destination is Destination.EDGE:
        widths = policy.half_widths(state.targets, cost=cost)
        return np.asarray(to_edge(state.weights, state.targets, _cash_free(widths)))
    return state.targets.copy()


def _calendar_reading(policy: RebalancePolicy, state: PortfolioState, on: date) -> Reading:
    is_on = policy.calendar is not Calendar.NEVER
    last = state.last_rebalanced_on
    is_due = (
        is_on
        and last is not None
        and (_period(on, policy.calendar) != _period(last, policy.calendar))
    )
    return Reading(Trigger.CALENDAR, is_on, is_due, None, None)


def _band_reading(policy: RebalancePolicy, state: PortfolioState, cost: float) -> Reading:
    widths = _cash_free(policy.half_widths(state.targets, cost=cost))
    is_on = bool(np.isfinite(widths).any())
    drift = np.abs(state.weights - state.targets)[:-1]
    if not drift.size:
        return Reading(Trigger.BAND, is_on=is_on, is_due=False, value=None, limit=None)
    # The one that is closest to its edge, or over it by most.
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(widths[:-1] > 0, drift / widths[:-1], np.where(drift > 1e-12, np.inf, 0.0))
    worst = int(np.argmax(used)) if is_on else int(np.argmax(drift))
    limit = float(widths[worst]) if is_on else None
    is_due = is_on and bool(is_outside(state.weights, state.targets, widths))
    return Reading(Trigger.BAND, is_on, is_due, float(drift[worst]), limit)


def _risk_reading(policy: RebalancePolicy, state: PortfolioState) -> Reading:
    is_on, value = policy.risk_band is not None, None
    if state.covariance is not None:
        value = float(risk_drift(state.weights, state.targets, state.covariance))
    is_due = policy.risk_band is not None and value is not None and value > policy.risk_band
    return Reading(Trigger.RISK, is_on, is_due, value, policy.risk_band)


def _sharpe_reading(policy: RebalancePolicy, state: PortfolioState) -> Reading:
    share, target = policy.sharpe_share, state.target_sharpe
    limit = share * target if share is not None and target is not None and target > 0 else None
    is_due = limit is not None and state.sharpe is not None and state.sharpe < limit
    return Reading(Trigger.SHARPE, share is not None, is_due, state.sharpe, limit)


def _volatility_reading(policy: RebalancePolicy, state: PortfolioState) -> Reading:
    high, low = policy.volatility_high, policy.volatility_low
    is_due = high is not None and _regime(policy, state.volatility_ratio) != _regime(
        policy, state.ratio_before
    )
    bounds = (None, None) if high is None else (high, low)
    return Reading(Trigger.VOLATILITY, high is not None, is_due, state.volatility_ratio, *bounds)


def _regime(policy: RebalancePolicy, ratio: float | None) -> int:
    known = math.nan if ratio is None else ratio
    return volatility_regime(known, policy.volatility_low, policy.volatility_high or math.inf)


def _cash_free(widths: FloatArray) -> FloatArray:
    """Let cash, the last column, drift as it will: it takes up what the others give."""
    free = widths.copy()
    free[-1] = np.inf
    return free


def _period(day: date, calendar: Calendar) -> tuple[int, int]:
    if calendar is Calendar.WEEKLY:
        return day.isocalendar()[:2]
    if calendar is Calendar.YEARLY:
        return day.year, 0
    return day.year, day.month if calendar is Calendar.MONTHLY else (day.month - 1) // 3
