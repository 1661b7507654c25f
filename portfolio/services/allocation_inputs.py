"""From a portfolio and its members' returns to the problem the optimiser is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.core.errors import InvalidInput, NotEnoughData
from alphastrat.quant.bootstrap import block_length
from alphastrat.quant.statistics import sharpe_floor
from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.models import Portfolio
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.black_litterman import View, black_litterman, equilibrium_returns
from portfolio.quant.constraints import Group, Limits, correlated_groups
from portfolio.quant.correlation import MIN_COMMON, shrunk_correlation
from portfolio.quant.estimators import Estimator, estimate_covariance
from portfolio.quant.expected_returns import (
    ReturnModel,
    floor_returns,
    historical_returns,
    shrunk_returns,
)
from portfolio.quant.resampling import resampled_rows
from portfolio.services.allocation_options import AllocationOptions
from portfolio.services.portfolio_state import Snapshot, take_snapshot
from portfolio.services.strategy_groups import groups_of_members
from portfolio.services.strategy_returns import StrategyReturns, load
from strategies.models import BacktestRun

DAYS_PER_YEAR = 252.0
# Fewer scenarios than this are drawn from again, in blocks.
N_SCENARIOS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class AllocationInputs:
    """The members whose returns are enough, and what is known of them.

    `usable` tells which lines of the snapshot have enough returns in common; the arrays have one
    entry or column per usable line.
    """

    portfolio: Portfolio
    options: AllocationOptions
    snapshot: Snapshot
    returns: StrategyReturns
    usable: BoolArray
    matrix: FloatArray
    current: FloatArray
    floors: FloatArray
    groups: tuple[Group, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        lines = self.snapshot.lines
        return tuple(line.name for line, one in zip(lines, self.usable, strict=True) if one)

    @property
    def strategy_ids(self) -> tuple[UUID, ...]:
        lines = self.snapshot.lines
        return tuple(line.strategy_id for line, one in zip(lines, self.usable, strict=True) if one)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say which strategies take no part in an allocation, and why."""
        lines = list(zip(self.snapshot.lines, self.usable, strict=True))
        short = [line.name for line, one in lines if not one]
        gone = [line.name for line, one in lines if one and line.scale == 0.0]
        found = []
        if short:
            found.append(
                f"Left out for fewer than {MIN_COMMON} days of returns in common with the others: "
                f"{', '.join(short)}."
            )
        if gone:
            found.append(
                "Given nothing, because suspended, retired or failed in verification: "
                f"{', '.join(gone)}."
            )
        return tuple(found)

    @property
    def common(self) -> FloatArray:
        """Returns on the days that all share."""
        return self.matrix[np.isfinite(self.matrix).all(axis=1)]


def read_inputs(
    portfolio: Portfolio, options: AllocationOptions, *, at: datetime
) -> AllocationInputs:
    """Read members, weights and returns as known at a time, in a constant number of queries.

    Raises NotEnoughData where no member has 30 days in common with the others.
    """
    snapshot = take_snapshot(portfolio, at=at)
    if not snapshot.lines:
        raise InvalidInput(
            "This portfolio has no strategies yet.", fields={"members": "Add at least one."}
        )
    keys = [line.strategy_id for line in snapshot.lines]
    returns = load(keys, at=at, prefer=options.source).last(options.window_days)
    usable = enough_in_common(returns.matrix)
    if not usable.any():
        raise NotEnoughData(
            "No strategy has 30 days of returns in common with the others: run backtests over "
            "the same period, or wait for more live trading.",
            needed=MIN_COMMON,
            available=max(returns.n_days, default=0),
        )
    weights = snapshot.weights[:-1]
    if weights.sum() <= 0:
        # Nothing is traded yet: the targets are what there is.
        weights = np.array([line.member.target_weight for line in snapshot.lines])
    matrix = returns.matrix[:, usable]
    floors = _floors(returns, matrix, usable)
    correlation, _ = shrunk_correlation(matrix)
    correlated = correlated_groups(
        correlation, above=options.correlated_above, max_weight=options.max_correlated
    )
    named, unknown = _named_groups(snapshot, options, usable)
    return AllocationInputs(
        portfolio=portfolio,
        options=options,
        snapshot=snapshot,
        returns=returns,
        usable=usable,
        matrix=matrix,
        current=np.maximum(weights[usable], 0.0),
        floors=floors,
        groups=(*named, *correlated),
        notes=(*_sources(returns), *unknown),
    )


def enough_in_common(matrix: FloatArray) -> BoolArray:
    """Return which strategies can be kept so that every two share 30 days.

    The one with the most pairs that are too short goes first, the younger of two that are equal.
    """
    known = np.isfinite(matrix).astype(np.float64)
    kept = known.sum(axis=0) >= MIN_COMMON
    common = known.T @ known
    while kept.sum() > 1:
        short = (common[np.ix_(kept, kept)] < MIN_COMMON).sum(axis=1)
        if not short.any():
            break
        own = known[:, kept].sum(axis=0)
        worst = np.lexsort((own, -short))[0]
        kept[np.flatnonzero(kept)[worst]] = False
    return np.asarray(kept)


def build_problem(
    inputs: AllocationInputs, matrix: FloatArray, *, is_history: bool = False
) -> AllocationProblem:
    """Return the problem that some returns make.

    `is_history` leaves out what only the present knows: current weights, turnover and lock-ups.
    """
    options = inputs.options
    covariance = estimate_covariance(matrix, estimator=Estimator(options.estimator)) * DAYS_PER_YEAR
    expected = _expected(inputs, matrix, covariance)
    method = Method(options.method)
    return AllocationProblem(
        names=inputs.names,
        covariance=covariance,
        expected=expected,
        limits=_limits(inputs, is_history=is_history),
        method=method,
        current=None if is_history else inputs.current,
        scenarios=_scenarios(inputs, matrix) if method is Method.MIN_CVAR else None,
        target=options.target,
        budgets=_budgets(inputs),
        risk_free=options.risk_free,
        confidence=options.confidence,
    )


def rebuild(
    inputs: AllocationInputs, matrix: FloatArray, *, is_history: bool = False
) -> AllocationProblem:
    """Return the problem that a resampled or earlier history makes.

    Raises ValueError where that history is too short for it.
    """
    try:
        return build_problem(inputs, matrix, is_history=is_history)
    except NotEnoughData as error:
        raise ValueError(str(error)) from error


def _limits(inputs: AllocationInputs, *, is_history: bool) -> Limits:
    options = inputs.options
    lines = [line for line, one in zip(inputs.snapshot.lines, inputs.usable, strict=True) if one]
    numbered = list(enumerate(lines))
    return Limits(
        max_weight=options.max_weight,
        min_weight=options.min_weight,
        cash=options.cash,
        max_strategies=options.max_strategies,
        max_turnover=None if is_history else options.max_turnover,
        groups=inputs.groups,
        locked=() if is_history else tuple(i for i, line in numbered if line.is_locked),
        excluded=() if is_history else tuple(i for i, line in numbered if line.scale == 0.0),
        floors=tuple(
            (i, float(line.member.minimum_weight))
            for i, line in numbered
            if line.member.minimum_weight
        ),
        caps=tuple(
            (i, float(line.member.maximum_weight))
            for i, line in numbered
            if line.member.maximum_weight is not None
        ),
    )


def _named_groups(
    snapshot: Snapshot, options: AllocationOptions, usable: BoolArray
) -> tuple[list[Group], list[str]]:
    """Return the groups that have a limit, and what to say of limits that no strategy meets."""
    if not options.group_limits:
        return [], []
    members = [line.member for line, one in zip(snapshot.lines, usable, strict=True) if one]
    strategies = groups_of_members(members)
    groups, unknown = [], []
    for name, limit in sorted(options.group_limits.items()):
        inside = strategies.get(name, frozenset())
        positions = tuple(i for i, member in enumerate(members) if member.strategy_id in inside)
        if positions:
            groups.append(Group(name, positions, limit))
        else:
            unknown.append(f"No strategy is in the group {name}; its limit holds nothing.")
    return groups, unknown


def _expected(inputs: AllocationInputs, matrix: FloatArray, covariance: FloatArray) -> FloatArray:
    options = inputs.options
    match ReturnModel(options.return_model):
        case ReturnModel.HISTORICAL:
            return historical_returns(matrix, periods_per_year=DAYS_PER_YEAR)
        case ReturnModel.FLOOR:
            volatilities = np.sqrt(np.diag(covariance))
            return floor_returns(inputs.floors, volatilities, risk_free=options.risk_free)
        case ReturnModel.BLACK_LITTERMAN:
            n = len(covariance)
            reference = inputs.current
            weights = reference / reference.sum() if reference.sum() > 0 else np.full(n, 1.0 / n)
            prior = equilibrium_returns(covariance, weights, risk_free=options.risk_free)
            mean, _ = black_litterman(covariance, prior, _views(inputs))
            return mean
        case _:
            mean, _ = shrunk_returns(matrix, covariance, periods_per_year=DAYS_PER_YEAR)
            return mean


def _views(inputs: AllocationInputs) -> list[View]:
    places = {str(key): i for i, key in enumerate(inputs.strategy_ids)}
    views = []
    for view in inputs.options.views:
        subject, other = str(view["strategy"]), str(view.get("against") or "")
        if subject not in places or (other and other not in places):
            raise InvalidInput(
                "A view names a strategy that is not in the portfolio or has too few returns.",
                fields={"views": "Choose strategies of this portfolio."},
            )
        against = ((places[other], 1.0),) if other else ()
        views.append(
            View(
                places[subject],
                float(view["excess"]),
                against,
                float(view.get("confidence", 0.5)),
            )
        )
    return views


def _budgets(inputs: AllocationInputs) -> FloatArray | None:
    given = inputs.options.budgets
    if not given:
        return None
    # A strategy without a budget gets the mean of those given.
    usual = float(np.mean(list(given.values())))
    return np.array([float(given.get(str(key), usual)) for key in inputs.strategy_ids])


def _scenarios(inputs: AllocationInputs, matrix: FloatArray) -> FloatArray:
    whole = matrix[np.isfinite(matrix).all(axis=1)]
    if len(whole) < MIN_COMMON:
        raise NotEnoughData(
            "The minimum CVaR needs 30 days on which every strategy has a return.",
            needed=MIN_COMMON,
            available=len(whole),
        )
    if len(whole) >= N_SCENARIOS:
        return whole
    rng = np.random.default_rng(inputs.options.seed)
    rows = resampled_rows(
        len(whole),
        n_draws=-(-N_SCENARIOS // len(whole)),
        rng=rng,
        block=block_length(whole.mean(axis=1)),
    )
    return whole[rows.T.ravel()]


def _floors(returns: StrategyReturns, matrix: FloatArray, usable: BoolArray) -> FloatArray:
    """Return each strategy's annual Sharpe ratio after paying for the trials it was chosen from."""
    keys = [key for key, one in zip(returns.run_ids, usable, strict=True) if one]
    luck: dict[UUID, Any] = dict(
        BacktestRun.objects.filter(pk__in=[key for key in keys if key]).values_list("pk", "luck")
    )
    floors = []
    for key, column in zip(keys, matrix.T, strict=True):
        own = column[np.isfinite(column)]
        found = luck.get(key) if key else None
        n_trials = float((found or {}).get("n_trials") or 1)
        deviation = float(own.std(ddof=1))
        sharpe = float(own.mean()) / deviation if deviation > 0 else 0.0
        floor = sharpe_floor(sharpe, n_trials=n_trials, sharpe_variance=1.0 / len(own))
        floors.append(floor * DAYS_PER_YEAR**0.5)
    return np.array(floors)


def _sources(returns: StrategyReturns) -> tuple[str, ...]:
    if not returns.is_mixed:
        return ()
    n_live = sum(source == "live" for source in returns.sources)
    words = f"{n_live} of {len(returns.sources)} strategies speak from live trading"
    return (f"{words}, the others from their backtest.",)
