"""A metric bar by bar, of one strategy or portfolio: live where it traded, else promised."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.models import Alert, Expectation
from monitoring.quant.live_metrics import METRICS, OF_CURVES, Curves, curve_paths
from monitoring.quant.observations import LiveObservations
from monitoring.services import observations as live_observations
from monitoring.services.expectations import reference_returns
from monitoring.services.rule_metrics import portfolio_curves
from portfolio.models import PortfolioMember

DAY_US = 86_400_000_000
LIVE, REFERENCE = "live", "reference"


@dataclass(frozen=True, slots=True, eq=False)
class MetricSeries:
    """A metric at every bar of a subject, and where the bars come from."""

    name: str
    source: str
    times: IntArray
    values: FloatArray
    periods_per_year: float
    # What chance is drawn from: the reference, or the live returns of a portfolio.
    returns: FloatArray
    strategy_id: UUID | None = None


def series_of_alert(alert: Alert, *, at: datetime) -> MetricSeries | None:
    """Return the metric of an alert's subject; None where it does not follow from series."""
    if alert.metric not in OF_CURVES:
        return None
    window = alert.evidence.get("window_bars")
    if alert.portfolio_id is not None:
        return of_portfolio(alert.portfolio_id, alert.metric, window, at=at)
    if alert.strategy_id is None:
        return None
    found = of_strategies([alert.strategy_id], alert.metric, window, at=at)
    return found[0] if found else None


def of_strategies(
    strategy_ids: list[UUID], key: str, window: int | None, *, at: datetime
) -> list[MetricSeries]:
    """Return the metric of each strategy: over its live bars, else over its reference's last year.

    Strategies with neither are left out. A reference has returns only.
    """
    seen = live_observations.load(strategy_ids, at=at)
    references = _references(strategy_ids)
    paths = curve_paths(Curves.of(seen), key, window)
    years = Curves.of(seen).periods_per_year
    found = []
    for i, strategy_id in enumerate(seen.strategies):
        reference, promised = references.get(strategy_id, (np.empty(0), np.nan))
        if seen.n_bars[i] >= 2:
            bars = seen.times[i] > 0
            times, values, source = seen.times[i][bars], paths[i][bars], LIVE
            per_year = years[i] if np.isnan(promised) else promised
        elif len(reference) and METRICS[key].is_of_returns:
            per_year = promised
            times, values = _of_reference(reference, key, window, per_year=per_year, at=at)
            source = REFERENCE
        else:
            continue
        found.append(
            MetricSeries(
                seen.names[i], source, times, values, float(per_year), reference, strategy_id
            )
        )
    return found


def of_portfolio(
    portfolio_id: UUID, key: str, window: int | None, *, at: datetime
) -> MetricSeries | None:
    """Return the metric of a portfolio over the live bars of its strategies."""
    seen = _members(portfolio_id, at=at)
    if not seen.strategies:
        return None
    curves = portfolio_curves(seen, [list(range(len(seen.strategies)))])
    if curves.times.shape[1] < 2:
        return None
    returns = curves.returns[0]
    return MetricSeries(
        "Portfolio",
        LIVE,
        curves.times[0],
        curve_paths(curves, key, window)[0],
        float(curves.periods_per_year[0]),
        returns[np.isfinite(returns)],
    )


def _members(portfolio_id: UUID, *, at: datetime) -> LiveObservations:
    members = PortfolioMember.objects.filter(portfolio=portfolio_id)
    return live_observations.load(list(members.values_list("strategy", flat=True)), at=at)


def _references(strategy_ids: list[UUID]) -> dict[Any, tuple[FloatArray, float]]:
    current = Expectation.objects.filter(strategy__in=strategy_ids, is_current=True)
    return {one.strategy_id: (reference_returns(one), one.periods_per_year) for one in current}


def _of_reference(
    returns: FloatArray, key: str, window: int | None, *, per_year: float, at: datetime
) -> tuple[IntArray, FloatArray]:
    """Return the last year of a reference, dated as if it ended now: it has no dates of its own."""
    lead = window or 0
    kept = returns[-(round(per_year) + lead) :]
    curves = Curves.of_returns(kept[None], periods_per_year=per_year)
    values = curve_paths(curves, key, window)[0][min(lead, len(kept) - 1) :]
    step = int(365.25 * DAY_US / per_year)
    end = int(at.timestamp() * 1e6)
    times = end - step * np.arange(len(values) - 1, -1, -1, dtype=np.int64)
    return times, values
