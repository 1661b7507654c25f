"""The risk of a portfolio now: exposure, heat, limits in use; and its tail by four methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.models import (
    Account,
    BrokerName,
    Order,
    OrderStatus,
    Portfolio,
    Position,
    RiskAction,
    StrategyStanding,
    TradingState,
)
from portfolio.quant.covariances import risk_contributions
from portfolio.quant.exposure import Exposure, exposure, exposure_by
from portfolio.quant.limit_catalogue import LIMITS, LimitSpec
from portfolio.quant.risk_limits import RiskLimits
from portfolio.quant.stress import StressResult, stress, worst_window
from portfolio.quant.tail_contributions import shortfall_contributions
from portfolio.quant.value_at_risk import (
    TailRisk,
    VarMethod,
    rolling_value_at_risk,
    tail_risk,
)
from portfolio.quant.var_backtest import Coverage, coverage
from portfolio.services.risk_facts import (
    ZERO,
    RiskBook,
    equity_of,
    groups_of,
    load_book,
)
from portfolio.services.risk_standing import UNKNOWN, Standing
from portfolio.services.strategy_returns import StrategyReturns
from portfolio.services.strategy_returns import load as load_returns

CONFIDENCES = (0.95, 0.99)
HORIZONS = (1, 10)
BACKTEST_WINDOW = 250
SEED = 20_240_101
N_DENIALS = 20
WORST_RUNS = (1, 5, 20)
YEAR = 252.0


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit, what it is used for now, and how much of it."""

    spec: LimitSpec
    value: Decimal | None
    bound: Decimal
    where: str = ""

    @property
    def used(self) -> float | None:
        return None if self.value is None else max(0.0, float(self.value / self.bound))

    @property
    def status(self) -> str:
        if self.used is None:
            return "no_data"
        return "breach" if self.used > 1 else "warn" if self.used > 0.8 else "ok"


@dataclass(frozen=True, slots=True)
class RiskNow:
    """What a portfolio has at work and at risk."""

    equity: Decimal
    total: Exposure | None
    by_strategy: dict[str, Exposure]
    by_instrument: dict[str, Exposure]
    by_group: dict[str, Exposure]
    heat: Decimal
    correlated_heat: float
    standing: Standing
    limits: list[LimitUse]
    denials: list[Order]
    actions: list[RiskAction]
    stopped: list[tuple[Account, StrategyStanding]]
    at_broker: bool


@dataclass(frozen=True, slots=True)
class TailRow:
    """One method at one confidence and horizon."""

    method: VarMethod
    confidence: float
    horizon: int
    risk: TailRisk


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """How often one method's promise was broken."""

    method: VarMethod
    confidence: float
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class TailView:
    """The tail of today's weights over the strategies' histories."""

    returns: StrategyReturns
    weights: FloatArray
    portfolio_returns: FloatArray
    rows: list[TailRow]
    volatility: float
    shares: FloatArray
    shortfalls: FloatArray
    windows: list[StressResult]


def measure_risk(portfolio: Portfolio, *, at: datetime) -> RiskNow:
    """Return a portfolio's risk as it is now, in a constant number of queries."""
    accounts = Account.objects.open().filter(strategy__portfolio_members__portfolio=portfolio)
    book = load_book(accounts.values_list("pk", flat=True))
    totals = book.totals.get(portfolio.pk)
    equity = portfolio.reserve if totals is None else totals.equity
    held = _held(book)
    values = np.array([row[3] for row in held])
    is_solvent = equity > 0
    capital = float(equity) if is_solvent else 1.0
    standing = book.portfolio_standing(portfolio) if book.accounts else UNKNOWN
    heat = ZERO if totals is None or not is_solvent else totals.risk / equity
    limits = next(iter(book.limits.values()), RiskLimits())
    return RiskNow(
        equity=equity,
        total=exposure(values, capital) if is_solvent else None,
        by_strategy=exposure_by(values, [row[0] for row in held], capital),
        by_instrument=exposure_by(values, [row[1] for row in held], capital),
        by_group=exposure_by(values, [row[2] for row in held], capital),
        heat=heat,
        correlated_heat=_correlated_heat(book, capital),
        standing=standing,
        limits=_limit_uses(book, portfolio, limits, equity=equity, heat=heat, standing=standing),
        denials=list(
            Order.objects.filter(account__in=book.accounts, status=OrderStatus.DENIED)
            .select_related("instrument", "account__strategy")
            .order_by("-decided_at")[:N_DENIALS]
        ),
        actions=_actions(portfolio, book),
        stopped=[
            (account, row)
            for account in book.accounts.values()
            if (row := book.states.get(account.strategy_id)) is not None
            and row.trading_state != TradingState.ACTIVE
        ],
        at_broker=any(one.broker == BrokerName.ALPACA for one in book.accounts.values()),
    )


def strategy_weights(portfolio: Portfolio) -> dict[UUID, float]:
    """Return each strategy's share of the portfolio's equity, in two queries."""
    accounts = list(
        Account.objects.open()
        .filter(strategy__portfolio_members__portfolio=portfolio)
        .only("strategy_id", "cash", "equity", "reports_equity")
        .order_by("strategy__name")
    )
    held: dict[UUID, list[Position]] = defaultdict(list)
    for position in Position.objects.held().filter(account__in=accounts):
        held[position.account_id].append(position)
    equities = {one.strategy_id: equity_of(one, held[one.pk]) for one in accounts}
    total = portfolio.reserve + sum(equities.values(), ZERO)
    capital = float(total) if total > 0 else 1.0
    return {key: float(equity) / capital for key, equity in equities.items()}


def measure_tail(weights: dict[UUID, float], *, at: datetime) -> TailView | None:
    """Return the tail of given weights over the strategies' common history; None without one."""
    returns = load_returns(list(weights), at=at)
    held = np.array(list(weights.values()))
    matrix = np.nan_to_num(returns.matrix)
    if len(matrix) < 2 or not held.size:
        return None
    mixed = matrix @ held
    rng = np.random.default_rng(SEED)
    rows = [
        TailRow(
            method,
            confidence,
            horizon,
            tail_risk(mixed, confidence=confidence, method=method, horizon=horizon, rng=rng),
        )
        for method in VarMethod
        for horizon in HORIZONS
        for confidence in CONFIDENCES
    ]
    covariance = np.atleast_2d(np.cov(matrix, rowvar=False))
    risks = risk_contributions(held, covariance)
    return TailView(
        returns=returns,
        weights=held,
        portfolio_returns=mixed,
        rows=rows,
        volatility=float(mixed.std(ddof=1)) * YEAR**0.5,
        shares=risks / risks.sum() if risks.sum() else risks,
        shortfalls=shortfall_contributions(held, matrix, confidence=0.975),
        windows=_stressed(held, returns, mixed),
    )


def backtest_tail(mixed: FloatArray) -> list[BacktestRow]:
    """Return how each method's promises of one bar held over the history of today's weights."""
    window = min(BACKTEST_WINDOW, len(mixed) // 2)
    if window < 30:
        return []
    rng = np.random.default_rng(SEED)
    found = []
    for method in VarMethod:
        for confidence in CONFIDENCES:
            forecasts = rolling_value_at_risk(
                mixed, window=window, confidence=confidence, method=method, rng=rng
            )
            judged = coverage(mixed, forecasts, confidence=confidence)
            found.append(BacktestRow(method, confidence, judged))
    return found


def _held(book: RiskBook) -> list[tuple[str, str, str, float]]:
    """Return strategy, instrument, group and value of every position."""
    return [
        (
            book.accounts[account].strategy.name,
            book.instruments[instrument].symbol,
            groups_of(book.instruments[instrument])[-1],
            float(holding.value),
        )
        for (account, instrument), holding in book.holdings.items()
    ]


def _correlated_heat(book: RiskBook, capital: float) -> float:
    """Return what the open risk comes to if instruments move as they used to."""
    risks: dict[UUID, float] = {}
    for (_account, instrument), holding in book.holdings.items():
        sign = 1 if holding.quantity > 0 else -1
        risks[instrument] = risks.get(instrument, 0.0) + sign * float(holding.risk) / capital
    signed = np.array(list(risks.values()))
    if signed.size == 0:
        return 0.0
    correlation = book.correlation([book.instruments[key].symbol for key in risks])
    together = np.sign(np.outer(signed, signed))
    known = np.where(np.isfinite(correlation), correlation, together)
    return float(max(0.0, signed @ known @ signed) ** 0.5)


def _limit_uses(
    book: RiskBook,
    portfolio: Portfolio,
    limits: RiskLimits,
    *,
    equity: Decimal,
    heat: Decimal,
    standing: Standing,
) -> list[LimitUse]:
    """Return the limits that can be measured without an order, those of the portfolio first."""
    totals = book.totals.get(portfolio.pk)
    if totals is None or equity <= 0:
        return []
    symbols = {key: one.symbol for key, one in book.instruments.items()}
    largest = _largest({symbols[k[1]]: abs(v) / equity for k, v in book.by_instrument.items()})
    riskiest = _largest(
        {symbols[key[1]]: holding.risk / equity for key, holding in book.holdings.items()}
    )
    group = _largest({key[1]: value / equity for key, value in book.by_group.items()})
    names = {key: one.strategy.name for key, one in book.accounts.items()}
    strategy = _largest({names[k]: v / equity for k, v in book.gross.items()})
    leverage = _largest(
        {names[k]: v / book.equities[k] for k, v in book.gross.items() if book.equities[k] > 0}
    )
    deepest = _smallest({names[k]: one.drawdown for k, one in book.standings.items()})
    measured: dict[str, tuple[Decimal | None, str]] = {
        "drawdown": (standing.drawdown, ""),
        "daily_loss": (standing.day_return, ""),
        "heat": (heat, ""),
        "gross_exposure": (totals.gross / equity, ""),
        "net_exposure": (abs(totals.net) / equity, ""),
        "concentration": largest,
        "position_heat": riskiest,
        "group_exposure": group,
        "strategy_exposure": strategy,
        "leverage": leverage,
        "strategy_drawdown": deepest,
    }
    return [
        LimitUse(LIMITS[name], value, Decimal(bound), where)
        for name, (value, where) in measured.items()
        if (bound := getattr(limits, name)) is not None
    ]


def _largest(values: dict[str, Decimal]) -> tuple[Decimal | None, str]:
    name = max(values, key=lambda key: values[key], default="")
    return (values[name], name) if name else (ZERO, "")


def _smallest(values: dict[str, Decimal | None]) -> tuple[Decimal | None, str]:
    known = {name: value for name, value in values.items() if value is not None}
    name = min(known, key=lambda key: known[key], default="")
    return (known[name], name) if name else (None, "")


def _actions(portfolio: Portfolio, book: RiskBook) -> list[RiskAction]:
    strategies = [account.strategy_id for account in book.accounts.values()]
    own = RiskAction.objects.filter(portfolio=portfolio)
    theirs = RiskAction.objects.filter(strategy__in=strategies)
    both = (own | theirs).select_related("taken_by", "strategy", "portfolio")
    return list(both.order_by("-taken_at")[:N_DENIALS])


def _stressed(
    weights: FloatArray, returns: StrategyReturns, mixed: FloatArray
) -> list[StressResult]:
    """Return the named windows that the history reaches, and its own worst runs."""
    found = stress(weights, returns.matrix, returns.dates)
    known = [one for one in found if np.isfinite(one.portfolio_return)]
    own = [worst_window(mixed, returns.dates, n_bars=n) for n in WORST_RUNS]
    worst = [one for one in own if one is not None]
    return known + stress(weights, np.nan_to_num(returns.matrix), returns.dates, windows=worst)


def as_json(now: RiskNow, tail: TailView | None) -> dict[str, Any]:
    """Return the numbers of the page for the API."""
    return {
        "equity": now.equity,
        "gross_exposure": now.total.gross if now.total else None,
        "net_exposure": now.total.net if now.total else None,
        "largest_position": now.total.largest if now.total else None,
        "effective_positions": now.total.effective_positions if now.total else None,
        "heat": now.heat,
        "correlated_heat": now.correlated_heat,
        "drawdown": now.standing.drawdown,
        "day_return": now.standing.day_return,
        "volatility": None if tail is None else tail.volatility,
        "value_at_risk": [] if tail is None else _tail_rows(tail.rows),
        "limits": [
            {
                "limit": use.spec.name,
                "value": use.value,
                "bound": use.bound,
                "status": use.status,
                "where": use.where,
            }
            for use in now.limits
        ],
    }


def _tail_rows(rows: Sequence[TailRow]) -> list[dict[str, Any]]:
    return [
        {
            "method": row.method,
            "confidence": row.confidence,
            "horizon": row.horizon,
            "value_at_risk": row.risk.value_at_risk,
            "expected_shortfall": row.risk.expected_shortfall,
            "is_valid": row.risk.is_valid,
        }
        for row in rows
    ]
