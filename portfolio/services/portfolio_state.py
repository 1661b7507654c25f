"""A portfolio as it is now: equity, weights against targets, and what its triggers look at."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.models import (
    Account,
    Portfolio,
    PortfolioMember,
    Position,
    Rebalance,
    RebalanceStatus,
    StrategyStanding,
)
from portfolio.quant.rebalance_policies import PortfolioState, RebalancePolicy
from portfolio.quant.rebalancing import volatility_ratio
from portfolio.services.rebalance_settings import RebalanceSettings, settings_of
from portfolio.services.risk_facts import ZERO, equity_of
from portfolio.services.risk_standing import PortfolioHistory, portfolio_history
from portfolio.services.strategy_returns import StrategyReturns
from portfolio.services.strategy_returns import load as load_returns
from strategies.models import LifecycleState

COVARIANCE_DAYS = 252
LEAST_DAYS = 60
DAYS_PER_YEAR = 252.0
# A degraded strategy keeps half of its target until it is verified or suspended.
DEGRADED_SCALE = 0.5
GONE = (LifecycleState.SUSPENDED, LifecycleState.RETIRED)


@dataclass(frozen=True, slots=True)
class Line:
    """One member: its account, what it is worth, and what it should be."""

    member: PortfolioMember
    account: Account | None
    equity: Decimal
    weight: float
    # What the target becomes while the strategy is degraded, suspended or locked up.
    target: float
    scale: float
    is_locked: bool

    @property
    def strategy_id(self) -> UUID:
        return self.member.strategy_id

    @property
    def name(self) -> str:
        return self.member.strategy.name

    @property
    def drift(self) -> float:
        return self.weight - self.target


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A portfolio at a time."""

    portfolio: Portfolio
    settings: RebalanceSettings
    at: datetime
    equity: Decimal
    lines: tuple[Line, ...]
    history: PortfolioHistory
    last_rebalance: Rebalance | None

    @property
    def weights(self) -> FloatArray:
        """Weights of the members, cash last."""
        own = [line.weight for line in self.lines]
        return np.array([*own, 1.0 - sum(own)])

    @property
    def targets(self) -> FloatArray:
        own = [line.target for line in self.lines]
        return np.array([*own, 1.0 - sum(own)])

    @property
    def today(self) -> date:
        days = self.history.days
        return days[-1].day if days else self.at.date()

    @property
    def n_inactive(self) -> int:
        """Return how many strategies have more capital than their state leaves them."""
        return sum(
            line.scale < 1.0 and not line.is_locked and line.drift > self.settings.minimum
            for line in self.lines
        )

    def state(self, returns: StrategyReturns | None) -> PortfolioState:
        """Return what the triggers look at; without returns the risk shares are not known."""
        last = self.last_rebalance
        since = None if last is None or last.finished_at is None else last.finished_at.date()
        own = self.history.returns(reserve=self.portfolio.reserve)
        days = [one.day for one in self.history.days]
        then = [] if since is None else own[: sum(day <= since for day in days)]
        return PortfolioState(
            weights=self.weights,
            targets=self.targets,
            covariance=None if returns is None else covariance(returns),
            sharpe=_sharpe(own, self.settings.policy.sharpe_window),
            target_sharpe=self.settings.target_sharpe,
            volatility_ratio=_volatility_ratio(own, self.settings.policy),
            ratio_before=_volatility_ratio(then, self.settings.policy),
            n_inactive=self.n_inactive,
            last_rebalanced_on=since or (days[0] if days else None),
            bars_since=None if since is None else sum(day > since for day in days),
        )


def take_snapshot(portfolio: Portfolio, *, at: datetime) -> Snapshot:
    """Read a portfolio as it is now, in a constant number of queries."""
    members = list(portfolio.members.select_related("strategy"))
    accounts = {
        account.strategy_id: account
        for account in Account.objects.open().filter(
            strategy__in=[member.strategy_id for member in members]
        )
    }
    held: dict[UUID, list[Position]] = defaultdict(list)
    for position in Position.objects.held().filter(account__in=accounts.values()):
        held[position.account_id].append(position)
    equities = {key: equity_of(one, held[one.pk]) for key, one in accounts.items()}
    total = portfolio.reserve + sum(equities.values(), ZERO)
    standings = {
        one.strategy_id: one for one in StrategyStanding.objects.filter(strategy__in=list(accounts))
    }
    history = portfolio_history(portfolio.pk)
    last = portfolio.rebalances.filter(status=RebalanceStatus.DONE).order_by("-finished_at").first()
    lines = tuple(
        _line(
            member,
            accounts.get(member.strategy_id),
            equity=equities.get(member.strategy_id, ZERO),
            total=total,
            standing=standings.get(member.strategy_id),
            at=at,
        )
        for member in members
    )
    settings = settings_of(portfolio.rebalance_settings)
    return Snapshot(portfolio, settings, at, total, lines, history, last)


def returns_of(snapshot: Snapshot) -> StrategyReturns:
    """Return the daily returns of the members, in the order of the snapshot's lines."""
    return load_returns([line.strategy_id for line in snapshot.lines], at=snapshot.at)


def covariance(returns: StrategyReturns) -> FloatArray | None:
    """Return the covariance of daily returns with cash last; None with too short a history."""
    matrix = returns.matrix[-COVARIANCE_DAYS:]
    if len(matrix) < LEAST_DAYS or not matrix.shape[1]:
        return None
    full = np.column_stack([np.nan_to_num(matrix), np.zeros(len(matrix))])
    return np.asarray(np.cov(full, rowvar=False))


def _line(
    member: PortfolioMember,
    account: Account | None,
    *,
    equity: Decimal,
    total: Decimal,
    standing: StrategyStanding | None,
    at: datetime,
) -> Line:
    weight = float(equity / total) if total > 0 else 0.0
    scale = _scale(member, standing)
    is_locked = member.locked_until is not None and member.locked_until > at
    target = weight if is_locked or account is None else member.target_weight * scale
    return Line(member, account, equity, weight, target, scale, is_locked)


def _scale(member: PortfolioMember, standing: StrategyStanding | None) -> float:
    if member.strategy.state in GONE:
        return 0.0
    verification = "" if standing is None else standing.verification
    return {"failed": 0.0, "degraded": DEGRADED_SCALE}.get(verification, 1.0)


def _volatility_ratio(returns: list[float], policy: RebalancePolicy) -> float | None:
    windows = policy.volatility_window, policy.volatility_long
    found = float(volatility_ratio(np.array(returns, dtype=np.float64), *windows))
    return found if np.isfinite(found) else None


def _sharpe(returns: list[float], window: int) -> float | None:
    recent = np.array(returns[-window:])
    if len(recent) < window or recent.std() == 0:
        return None
    return float(recent.mean() / recent.std(ddof=1) * DAYS_PER_YEAR**0.5)
