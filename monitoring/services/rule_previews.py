"""Try a rule on the past year before it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

from alphastrat.quant.types import IntArray
from monitoring.models import ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.quant.live_metrics import METRICS, OF_CURVES
from monitoring.quant.rule_preview import Chance, chance, firings
from monitoring.quant.thresholds import Threshold
from monitoring.services import metric_series
from monitoring.services.metric_series import LIVE, MetricSeries
from monitoring.services.rule_evaluation import replaced, threshold_of
from strategies.models import Strategy

YEAR = timedelta(days=365)
MOST_STRATEGIES = 20
SEED = 20_260_101


@dataclass(frozen=True, slots=True, eq=False)
class SubjectPreview:
    """What a rule would have done on one subject."""

    series: MetricSeries
    fired: IntArray
    n_years: float
    chance: Chance | None

    @property
    def fired_at(self) -> list[datetime]:
        return [datetime.fromtimestamp(self.series.times[i] / 1e6, UTC) for i in self.fired]


@dataclass(frozen=True, slots=True, eq=False)
class RulePreview:
    """What a rule would have done; `shown` is the subject with the most firings."""

    subjects: tuple[SubjectPreview, ...]
    n_left_out: int
    reason: str
    has_chance: bool = True

    @property
    def n_fired(self) -> int:
        return sum(len(one.fired) for one in self.subjects)

    @property
    def shown(self) -> SubjectPreview | None:
        return max(self.subjects, key=lambda one: len(one.fired), default=None)

    @property
    def chance_per_year(self) -> float | None:
        """Expected firings by chance in a year, of all subjects; None where one is not known."""
        rates = [one.chance.per_year for one in self.subjects if one.chance is not None]
        return sum(rates) if rates and len(rates) == len(self.subjects) else None

    @property
    def why_no_chance(self) -> str:
        if not self.has_chance:
            return "How often it fires by chance cannot be told for this metric."
        return "How often it fires by chance is told once every strategy has an expectation."

    @property
    def words(self) -> str:
        """The answer in one sentence."""
        if not self.subjects:
            return self.reason
        sources = {one.series.source for one in self.subjects}
        of = "live" if sources == {LIVE} else "reference"
        of = "live and reference" if len(sources) > 1 else of
        n = self.n_fired
        many = len(self.subjects)
        over = f" over {many} strategies" if many > 1 else ""
        years = max(one.n_years for one in self.subjects)
        span = (
            "the last year" if years > 0.97 else f"the {max(round(years * 365), 1)} days there are"
        )
        words = f"Would have fired {n} time{'' if n == 1 else 's'} in {span}{over} ({of} returns)"
        rate = self.chance_per_year
        if rate is None:
            return f"{words}. {self.why_no_chance}"
        return f"{words}; by chance about {_rate(rate)} a year."


def preview(rule: ThresholdRule, *, at: datetime) -> RulePreview:
    """Return when a checked rule, stored or not, would have fired, and how often by chance."""
    if rule.metric not in OF_CURVES:
        label = METRICS[rule.metric].label.lower()
        return RulePreview((), 0, f"There is no past record of {label} bar by bar to try it on.")
    threshold = threshold_of(rule)
    series, n_left_out = _series(rule, at=at)
    if not series:
        return RulePreview((), n_left_out, "There is nothing to try it on yet.")
    since = int((at - YEAR).timestamp() * 1e6)
    subjects = [_of_subject(rule, one, threshold, since=since) for one in series]
    return RulePreview(tuple(subjects), n_left_out, "", METRICS[rule.metric].is_of_returns)


def _series(rule: ThresholdRule, *, at: datetime) -> tuple[list[MetricSeries], int]:
    window = rule.window_bars
    if rule.scope == RuleScope.PORTFOLIO:
        assert rule.portfolio_id is not None
        found = metric_series.of_portfolio(rule.portfolio_id, rule.metric, window, at=at)
        return ([found] if found else []), 0
    ids = _strategies(rule)
    kept = ids[:MOST_STRATEGIES]
    series = metric_series.of_strategies(kept, rule.metric, window, at=at)
    return series, len(ids) - len(kept)


def _strategies(rule: ThresholdRule) -> list[UUID]:
    if rule.strategy_id is not None:
        return [rule.strategy_id]
    own = ThresholdRule.objects.enabled().filter(owner=rule.owner_id).exclude(pk=rule.pk)
    exceptions = {
        strategy
        for _, metric, comparator, strategy in replaced(own)
        if (metric, comparator) == (rule.metric, rule.comparator)
    }
    active = Strategy.objects.filter(owner=rule.owner_id).active().order_by("name")
    return [key for key in active.values_list("pk", flat=True) if key not in exceptions]


def _of_subject(
    rule: ThresholdRule, series: MetricSeries, threshold: Threshold, *, since: int
) -> SubjectPreview:
    # A replay lives in the past: the last year is that of the series.
    newest = int(series.times[-1])
    since = min(since, newest - int(YEAR / timedelta(microseconds=1)))
    inside = series.times > since
    values = np.where(np.cumsum(~np.isnan(series.values)) >= rule.minimum_observations, 1, np.nan)
    values = values * series.values
    pending = _pending_bars(rule, series)
    fired = firings(values, threshold, pending_bars=pending).fired
    fired = fired[inside[fired]]
    span = (newest - max(since, int(series.times[0]))) / (YEAR / timedelta(microseconds=1))
    found = chance(
        series.returns,
        key=rule.metric,
        threshold=threshold,
        window=rule.window_bars,
        periods_per_year=series.periods_per_year,
        seed=SEED,
        pending_bars=pending,
    )
    return SubjectPreview(series, fired, span, found)


def _pending_bars(rule: ThresholdRule, series: MetricSeries) -> int:
    """Return how many further bars a breach must last: those that close within the period."""
    gaps = np.diff(series.times)
    typical = float(np.median(gaps)) / 1e6 if len(gaps) else float("inf")
    return int(rule.pending_seconds // typical) if typical > 0 else 0


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 0.05 else "less than 0.1"
