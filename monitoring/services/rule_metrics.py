"""The numbers that threshold rules are held against: of strategies, and of portfolios of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.degradation import Assessment
from monitoring.quant.live_metrics import Curves, curve_values, metric_values, periods_per_year
from monitoring.quant.observations import LiveObservations
from portfolio.models import Portfolio, PortfolioMember


@dataclass(frozen=True, slots=True)
class PortfolioRows:
    """The portfolios whose strategies were observed, as series."""

    ids: tuple[UUID, ...]
    owners: tuple[int, ...]
    names: tuple[str, ...]
    curves: Curves

    @property
    def newest(self) -> IntArray:
        if self.curves.times.shape[1] == 0:
            return np.zeros(len(self.ids), np.int64)
        return self.curves.times[:, -1]


_NO_TIMES, _NO_SERIES = np.zeros((0, 0), np.int64), np.empty((0, 0))
NO_PORTFOLIOS = PortfolioRows(
    (), (), (), Curves(_NO_TIMES, _NO_SERIES, _NO_SERIES, _NO_SERIES, np.empty(0))
)


@dataclass(slots=True)
class Values:
    """Metrics by key, window and least number of observations, each computed once."""

    observations: LiveObservations
    portfolios: PortfolioRows
    verdicts: Mapping[str, FloatArray]
    _known: dict[tuple[bool, str, int | None, int], FloatArray] = field(default_factory=dict)

    def of_strategies(self, key: str, window: int | None, minimum: int) -> FloatArray:
        place = (False, key, window, minimum)
        if place not in self._known:
            self._known[place] = metric_values(
                self.observations,
                key,
                window,
                verdicts=self.verdicts,
                minimum=minimum,
            )
        return self._known[place]

    def of_portfolios(self, key: str, window: int | None, minimum: int) -> FloatArray:
        place = (True, key, window, minimum)
        if place not in self._known:
            self._known[place] = curve_values(self.portfolios.curves, key, window, minimum=minimum)
        return self._known[place]


def values_of(
    observations: LiveObservations,
    assessment: Assessment | None,
    *,
    portfolios: PortfolioRows | None = None,
) -> Values:
    """Return what rules need of strategies that were observed and judged, and of portfolios.

    Without `portfolios`, those of the strategies are read.
    """
    if portfolios is None:
        portfolios = portfolio_rows(observations)
    return Values(observations, portfolios, _verdicts(assessment))


def portfolio_rows(observations: LiveObservations) -> PortfolioRows:
    """Return the portfolios of these strategies as series; those observed in part are left out."""
    rows = {key: i for i, key in enumerate(observations.strategies)}
    members: dict[UUID, list[int]] = defaultdict(list)
    open_members = PortfolioMember.objects.filter(strategy__accounts__closed_at__isnull=True)
    known = open_members.filter(strategy__accounts__isnull=False)
    of_these = PortfolioMember.objects.filter(strategy__in=rows).values("portfolio")
    partial: set[UUID] = set()
    for portfolio_id, strategy_id in known.filter(portfolio__in=of_these).values_list(
        "portfolio", "strategy"
    ):
        if strategy_id in rows:
            members[portfolio_id].append(rows[strategy_id])
        else:
            partial.add(portfolio_id)
    wanted = [key for key in members if key not in partial]
    found = {portfolio.pk: portfolio for portfolio in Portfolio.objects.filter(pk__in=wanted)}
    ids = tuple(key for key in wanted if key in found)
    return PortfolioRows(
        ids=ids,
        owners=tuple(found[key].owner_id for key in ids),
        names=tuple(found[key].name for key in ids),
        curves=portfolio_curves(observations, [members[key] for key in ids]),
    )


def portfolio_curves(observations: LiveObservations, members: list[list[int]]) -> Curves:
    """Return the joint series of groups of strategies: money-weighted, bar by bar."""
    series = [_joint(observations, np.array(rows, np.int64)) for rows in members]
    longest = max((len(one[0]) for one in series), default=0)
    times = np.zeros((len(series), longest), np.int64)
    returns = np.full((len(series), longest), np.nan)
    exposure = returns.copy()
    for i, (moments, growth, held) in enumerate(series):
        start = longest - len(moments)
        times[i, start:], returns[i, start:], exposure[i, start:] = moments, growth, held
    shadow = np.full(returns.shape, np.nan)
    return Curves(times, returns, exposure, shadow, periods_per_year(times))


def _joint(
    observations: LiveObservations, rows: IntArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    times, returns = observations.times[rows], observations.returns[rows]
    equity, exposure = observations.equity[rows], observations.exposure[rows]
    known = (times > 0) & ~np.isnan(returns) & ~np.isnan(equity)
    moments, place = np.unique(times[known], return_inverse=True)
    after = equity[known]
    before = after / np.where(returns[known] > -1, 1.0 + returns[known], np.nan)
    gain = np.where(np.isnan(before), 0.0, after - before)
    n = len(moments)
    value = np.bincount(place, weights=np.nan_to_num(before), minlength=n)
    held = np.bincount(place, weights=np.nan_to_num(exposure[known]) * after, minlength=n)
    worth = np.bincount(place, weights=after, minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.bincount(place, weights=gain, minlength=n) / value
        return moments, growth, held / worth


def _verdicts(assessment: Assessment | None) -> Mapping[str, FloatArray]:
    if assessment is None:
        return {}
    return {
        "e_value": assessment.e_value,
        "health_score": assessment.score,
        "envelope_percentile": assessment.percentile,
    }
