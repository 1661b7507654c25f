"""What is asked of an allocation, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant.constraints import Limits, Region, relaxed_region
from portfolio.quant.requirements import Requirement, requirements_of


class Method(StrEnum):
    """How weights are found."""

    MAX_SHARPE = "max_sharpe"
    MIN_VOLATILITY = "min_volatility"
    TARGET_RETURN = "target_return"
    TARGET_VOLATILITY = "target_volatility"
    RISK_PARITY = "risk_parity"
    RISK_BUDGET = "risk_budget"
    HRP = "hrp"
    HRP_CONDENSED = "hrp_condensed"
    MIN_CVAR = "min_cvar"
    MAX_DIVERSIFICATION = "max_diversification"
    EQUAL_WEIGHT = "equal_weight"

    @property
    def label(self) -> str:
        """The method's name for people."""
        return LABELS[self.value]

    @property
    def needs_returns(self) -> bool:
        """Whether the answer depends on expected returns."""
        return self in {Method.MAX_SHARPE, Method.TARGET_RETURN, Method.TARGET_VOLATILITY}

    @property
    def is_rule(self) -> bool:
        """Whether weights follow from a rule rather than from an objective."""
        return self in RULES


LABELS = {
    "max_sharpe": "Maximum Sharpe ratio",
    "min_volatility": "Minimum volatility",
    "target_return": "Least volatility for a target return",
    "target_volatility": "Most return for a target volatility",
    "risk_parity": "Equal risk contribution",
    "risk_budget": "Risk budgets",
    "hrp": "Hierarchical risk parity (as published)",
    "hrp_condensed": "Hierarchical risk parity (as in PyPortfolioOpt)",
    "min_cvar": "Minimum CVaR",
    "max_diversification": "Maximum diversification",
    "equal_weight": "Equal weight",
}
RULES = {
    Method.RISK_PARITY,
    Method.RISK_BUDGET,
    Method.HRP,
    Method.HRP_CONDENSED,
    Method.EQUAL_WEIGHT,
}


@dataclass(frozen=True, slots=True, eq=False)
class AllocationProblem:
    """Everything that weights follow from.

    Attributes
    ----------
    names : tuple of str
        The strategies, for words.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    expected : ndarray of shape (n_strategies,)
        Expected returns per year, as fractions.
    limits : Limits
        What weights must respect.
    method : Method
        How they are found.
    current : ndarray of shape (n_strategies,), optional
        Current weights; zero by default.
    scenarios : ndarray of shape (n_scenarios, n_strategies), optional
        Returns per bar, finite; needed by the minimum CVaR.
    target : float, optional
        Expected return or volatility per year, for the methods that have a target.
    budgets : ndarray of shape (n_strategies,), optional
        Positive shares of risk; equal by default.
    risk_free : float
        Rate per year that cash earns.
    confidence : float
        Of the CVaR, in (0, 1).
    """

    names: tuple[str, ...]
    covariance: FloatArray
    expected: FloatArray
    limits: Limits
    method: Method = Method.RISK_PARITY
    current: FloatArray | None = None
    scenarios: FloatArray | None = None
    target: float | None = None
    budgets: FloatArray | None = None
    risk_free: float = 0.0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together, and a method without what it needs."""
        n = len(self.names)
        if self.covariance.shape != (n, n) or self.expected.shape != (n,):
            raise ValueError(
                f"{n} strategies need {n} expected returns and a covariance of shape ({n}, {n}), "
                f"were {self.expected.shape} and {self.covariance.shape}"
            )
        if not np.isfinite(self.expected).all():
            raise ValueError("every expected return must be finite")
        if self.method in {Method.TARGET_RETURN, Method.TARGET_VOLATILITY} and self.target is None:
            raise ValueError(f"{self.method.label} needs a target")
        if self.method is Method.MIN_CVAR and self.scenarios is None:
            raise ValueError("the minimum CVaR needs scenarios")

    @property
    def n(self) -> int:
        """How many strategies there are."""
        return len(self.names)

    @property
    def excess(self) -> FloatArray:
        """Expected returns above the risk-free rate, per year."""
        return self.expected - self.risk_free

    @property
    def region(self) -> Region:
        """Where every strategy may be included or not."""
        return relaxed_region(self.limits, self.n, self.current)

    @property
    def target_return(self) -> float | None:
        """The target where it is a return."""
        return self.target if self.method is Method.TARGET_RETURN else None

    @property
    def target_volatility(self) -> float | None:
        """The target where it is a volatility."""
        return self.target if self.method is Method.TARGET_VOLATILITY else None

    @property
    def invested_return(self) -> float | None:
        """What the invested part must earn for the target return; None without one."""
        if self.target_return is None:
            return None
        return self.target_return - self.limits.cash * self.risk_free

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """Limits and targets as single requirements."""
        return requirements_of(
            self.limits,
            self.names,
            current=self.current,
            target_return=self.target_return,
            target_volatility=self.target_volatility,
        )

    def with_moments(
        self, covariance: FloatArray, expected: FloatArray, scenarios: FloatArray | None
    ) -> AllocationProblem:
        """Return the same question about other estimates."""
        return replace(self, covariance=covariance, expected=expected, scenarios=scenarios)

    def part(self, chosen: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Return covariance and expected returns of the chosen strategies."""
        if chosen.all():
            return self.covariance, self.expected
        return self.covariance[np.ix_(chosen, chosen)], self.expected[chosen]


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Weights and what they are worth by the estimates they were made from.

    Attributes
    ----------
    weights : ndarray of shape (n_strategies,)
        Fractions of equity; the rest is cash.
    expected_return, volatility, sharpe : float
        Per year; the Sharpe ratio over the risk-free rate.
    risk_shares : ndarray of shape (n_strategies,)
        Shares of the volatility, which sum to one.
    diversification, bets : float
        Diversification ratio and its square, the effective number of bets.
    solver : str
        What found them.
    gap : float
        How much better any allowed weights could be, as a fraction of the objective; NaN for a
        rule, which has none.
    binding : tuple of str
        Requirements that hold the weights where they are.
    notes : tuple of str
        What a reader should know.
    """

    weights: FloatArray
    expected_return: float
    volatility: float
    sharpe: float
    risk_shares: FloatArray
    diversification: float
    bets: float
    solver: str
    gap: float
    binding: tuple[str, ...]
    notes: tuple[str, ...]
