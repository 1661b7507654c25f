"""How alike the strategies of a portfolio are, now, under stress, and with whom it could grow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from uuid import UUID

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from portfolio.models import Portfolio
from portfolio.quant.candidates import Candidate, rank_candidates
from portfolio.quant.correlation import (
    MIN_COMMON,
    STRESS_SHARE,
    WARNING,
    Band,
    band,
    cluster_order,
    correlation_matrix,
    fading_correlation,
    mean_correlation,
    rolling_correlation,
    shrunk_correlation,
    stress_bars,
    strongest_pairs,
)
from portfolio.quant.diversification import summary, weighted_mean_correlation
from portfolio.quant.estimators import estimate_covariance
from portfolio.services.portfolio_state import Snapshot, take_snapshot
from portfolio.services.portfolios import available_strategies
from portfolio.services.strategy_returns import StrategyReturns, load
from strategies.models import Strategy

WINDOWS: dict[str, int | None] = {"60": 60, "120": 120, "250": 250, "all": None}
REGIMES = {
    "all": "All days",
    "recent": "Recent days count more (half-life 63)",
    "stress": "Stress: worst 10 % of days",
    "calm": "Without the worst 10 %",
}
MAX_CANDIDATES = 100
ROLLING_WINDOW = 60


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationStudy:
    """The correlations of a portfolio's strategies.

    `matrix` and `n_common` are in the order of `strategy_ids` and `names`; `order` puts those
    that are alike next to each other; `pairs` are those with a correlation, most alike first.
    """

    strategy_ids: tuple[UUID, ...]
    names: tuple[str, ...]
    weights: FloatArray
    sources: tuple[str, ...]
    dates: tuple[date, ...]
    matrix: FloatArray
    n_common: IntArray
    order: IntArray
    pairs: list[tuple[int, int, float]]
    shrinkage: float
    score: float | None
    ratio: float | None
    bets: float | None
    mean: float
    weighted_mean: float
    n_used: int

    @property
    def warned(self) -> list[tuple[int, int, float]]:
        """Return the pairs above 0.6."""
        return list(takewhile(lambda pair: pair[2] > WARNING, self.pairs))

    @property
    def n_insufficient(self) -> int:
        """Return how many pairs share too few days."""
        upper = self.matrix[np.triu_indices(len(self.names), 1)]
        return int(np.isnan(upper).sum())

    def band_of(self, first: int, second: int) -> Band:
        return band(float(self.matrix[first, second]))

    @property
    def is_mixed(self) -> bool:
        return len(set(self.sources) - {"none"}) > 1


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """A portfolio, the strategies that could join it, and the returns of both, members first."""

    snapshot: Snapshot
    outside: list[Strategy]
    returns: StrategyReturns

    @property
    def n_members(self) -> int:
        return len(self.snapshot.lines)

    @property
    def weights(self) -> FloatArray:
        """Return the members' weights; their targets, or equal ones, while nothing is invested."""
        lines = self.snapshot.lines
        weights = np.maximum(self.snapshot.weights[:-1], 0.0)
        if weights.sum() <= 0:
            weights = np.array([line.member.target_weight for line in lines], dtype=np.float64)
        if weights.sum() <= 0 and len(lines):
            weights = np.full(len(lines), 1.0 / len(lines))
        return weights


def gather(portfolio: Portfolio, *, at: datetime) -> Gathered:
    """Read what the correlations of a portfolio need, in a constant number of queries."""
    snapshot = take_snapshot(portfolio, at=at)
    inside = [line.strategy_id for line in snapshot.lines]
    known = set(inside)
    available = available_strategies(portfolio.owner, portfolio=portfolio)
    outside = [one for one in available if one.pk not in known][:MAX_CANDIDATES]
    returns = load([*inside, *(one.pk for one in outside)], at=at)
    return Gathered(snapshot, outside, returns)


def study(gathered: Gathered, *, window: str = "250", regime: str = "all") -> CorrelationStudy:
    """Return the correlations of a portfolio's strategies.

    Stress and calm look at the whole history, of which the window would leave too few days.
    """
    lines, weights = gathered.snapshot.lines, gathered.weights
    returns = gathered.returns.first(gathered.n_members)
    chosen = _chosen_rows(returns, window=window, regime=regime)
    rows = returns.matrix[chosen]
    shrinkage = 0.0
    if regime == "recent":
        matrix = fading_correlation(rows)
    else:
        matrix, shrinkage = shrunk_correlation(rows)
    known = np.isfinite(rows).astype(np.float64)
    measures = _diversification(rows, weights)
    return CorrelationStudy(
        strategy_ids=returns.strategy_ids,
        names=tuple(line.name for line in lines),
        weights=weights,
        sources=returns.sources,
        dates=tuple(day for day, used in zip(returns.dates, chosen, strict=True) if used),
        matrix=matrix,
        n_common=(known.T @ known).astype(np.int64),
        order=cluster_order(matrix),
        pairs=strongest_pairs(matrix),
        shrinkage=shrinkage,
        score=measures.get("score"),
        ratio=measures.get("ratio"),
        bets=measures.get("bets"),
        mean=mean_correlation(matrix),
        weighted_mean=weighted_mean_correlation(weights, matrix),
        n_used=int(chosen.sum()),
    )


def _chosen_rows(returns: StrategyReturns, *, window: str, regime: str) -> BoolArray:
    n_days = len(returns.dates)
    if regime in ("stress", "calm"):
        with np.errstate(invalid="ignore"):
            known = np.isfinite(returns.matrix)
            market = np.where(
                known.any(axis=1),
                np.nan_to_num(returns.matrix).sum(axis=1) / np.maximum(known.sum(axis=1), 1),
                np.nan,
            )
        worst = stress_bars(market, share=STRESS_SHARE)
        return worst if regime == "stress" else ~worst
    length = WINDOWS.get(window, 250)
    first = 0 if length is None else n_days - length
    return np.asarray(np.arange(n_days) >= first)


def _diversification(rows: FloatArray, weights: FloatArray) -> dict[str, float]:
    held = weights > 0
    used = rows[:, held]
    known = np.isfinite(used).astype(np.float64)
    if not held.any() or (known.T @ known).min() < MIN_COMMON:
        return {}
    covariance = estimate_covariance(used)
    if (np.diag(covariance) <= 0).any():
        return {}
    return summary(weights[held], covariance)


@dataclass(frozen=True, slots=True)
class NamedCandidate:
    """A strategy outside the portfolio and what adding it would do."""

    strategy_id: UUID
    name: str
    source: str
    found: Candidate


def candidates(gathered: Gathered) -> list[NamedCandidate]:
    """Return strategies outside the portfolio by how much they lower its correlation."""
    n, outside = gathered.n_members, gathered.outside
    if not outside or not n:
        return []
    matrix = gathered.returns.matrix
    ranked = rank_candidates(matrix[:, :n], gathered.weights, matrix[:, n:])
    return [
        NamedCandidate(
            outside[one.position].pk,
            outside[one.position].name,
            gathered.returns.sources[n + one.position],
            one,
        )
        for one in ranked
    ]


@dataclass(frozen=True, slots=True, eq=False)
class PairStudy:
    """Two strategies on the days both have returns."""

    names: tuple[str, str]
    sources: tuple[str, str]
    dates: tuple[date, ...]
    first: FloatArray
    second: FloatArray
    rolling: FloatArray
    correlation: float
    stress: float

    @property
    def is_sufficient(self) -> bool:
        return len(self.dates) >= MIN_COMMON


def study_pair(first: tuple[UUID, str], second: tuple[UUID, str], *, at: datetime) -> PairStudy:
    """Return two strategies' common days with their rolling correlation."""
    returns = load([first[0], second[0]], at=at)
    common: BoolArray = np.asarray(np.isfinite(returns.matrix).all(axis=1))
    pair = returns.matrix[common]
    dates = tuple(day for day, used in zip(returns.dates, common, strict=True) if used)
    window = min(ROLLING_WINDOW, max(2, len(pair)))
    worst = stress_bars(pair.mean(axis=1)) if len(pair) else np.zeros(0, dtype=np.bool_)
    return PairStudy(
        names=(first[1], second[1]),
        sources=(returns.sources[0], returns.sources[1]),
        dates=dates,
        first=pair[:, 0],
        second=pair[:, 1],
        rolling=rolling_correlation(pair[:, 0], pair[:, 1], window=window),
        correlation=float(correlation_matrix(pair)[0, 1]) if len(pair) else float("nan"),
        stress=float(correlation_matrix(pair[worst])[0, 1]) if worst.any() else float("nan"),
    )
