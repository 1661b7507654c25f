"""What the active monitor does when it wakes: judge what is affected, all of it in one pass.

A lost notification costs seconds: every pass compares the revision of each account with the one it
judged last, and every minute everything is judged whether or not anything seems to have changed.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from django.db.models import Q
from django.utils.timezone import now

from alphastrat.core.notify import Wake
from monitoring.models import ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.services import (
    lifecycle_gates,
    performance_alerts,
    performance_validator,
    rule_evaluation,
    rule_metrics,
    standing_breaches,
)
from monitoring.services.rules import MONITOR
from portfolio.models import Account, PortfolioMember

logger = logging.getLogger(__name__)

FULL_SECONDS = 60.0
N_REMEMBERED = 500
SLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: how much it judged, what came of it, and how long each part took."""

    n_strategies: int
    n_rules: int
    n_breaches: int
    n_alerts: int
    evaluated_seconds: float
    stored_seconds: float
    is_full: bool


@dataclass(frozen=True, slots=True)
class Affected:
    """The strategies to judge; None for all of them."""

    strategy_ids: tuple[UUID, ...] | None

    @property
    def is_empty(self) -> bool:
        return self.strategy_ids is not None and not self.strategy_ids


class PerformanceMonitor:
    """The monitor's memory between passes; what is in it can be lost."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = now,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._stopwatch = stopwatch
        self._since = clock()
        self._judged: dict[UUID, int] = {}
        self._full_at = -FULL_SECONDS
        self._passes: deque[Pass] = deque(maxlen=N_REMEMBERED)
        self._n_passes = 0

    def run_pass(self, wake: Wake, *, at: datetime) -> Pass:
        """Judge what `wake` is about and what has changed without a word; store what follows."""
        began = self._stopwatch()
        accounts = list(Account.objects.open().values_list("pk", "strategy", "revision"))
        scope = self._scope(wake, accounts, began)
        n_strategies = n_rules = n_breaches = n_alerts = 0
        evaluated_seconds = 0.0
        if not scope.is_empty:
            evaluated = performance_validator.evaluate(scope.strategy_ids, at=at)
            evaluated_at = self._clock()
            rules = list(ThresholdRule.objects.enabled())
            values = rule_metrics.values_of(evaluated.observations, evaluated.assessment, at=at)
            breaches = rule_evaluation.breaches_of(rules, values, at=evaluated_at, recorded_at=at)
            breaches += standing_breaches.of_verdicts(
                evaluated.verifications, at=evaluated_at, recorded_at=at
            )
            evaluated_seconds = self._stopwatch() - began
            n_alerts = len(performance_alerts.observe(breaches, at=evaluated_at))
            lifecycle_gates.act_on(evaluated.transitions, at=evaluated_at)
            n_strategies, n_rules = evaluated.observations.shape[0], len(rules)
            n_breaches = len(breaches)
        n_alerts += self._bring_about(wake)
        self._remember(accounts, scope, began)
        done = Pass(
            n_strategies=n_strategies,
            n_rules=n_rules,
            n_breaches=n_breaches,
            n_alerts=n_alerts,
            evaluated_seconds=evaluated_seconds,
            stored_seconds=self._stopwatch() - began,
            is_full=scope.strategy_ids is None,
        )
        self._count(done)
        return done

    def _scope(
        self, wake: Wake, accounts: Sequence[tuple[UUID, UUID, int]], began: float
    ) -> Affected:
        payloads = wake.payloads.get(MONITOR, frozenset())
        if "" in payloads or began - self._full_at >= FULL_SECONDS:
            return Affected(None)
        woken = {one.removeprefix("account:") for one in payloads if one.startswith("account:")}
        affected = {
            strategy
            for account, strategy, revision in accounts
            if str(account) in woken or self._judged.get(account) != revision
        }
        rules = [one.removeprefix("rule:") for one in payloads if one.startswith("rule:")]
        if rules:
            affected |= self._of_rules(rules, {strategy for _, strategy, _ in accounts})
        return Affected(tuple(_with_portfolios(affected))) if affected else Affected(())

    def _of_rules(self, rules: Iterable[str], live: set[UUID]) -> set[UUID]:
        found = ThresholdRule.objects.filter(pk__in=list(rules)).select_related("strategy")
        by_owner = Q(pk__in=[])
        for rule in found:
            by_owner |= Q(strategy__owner=rule.owner_id)
        owned = Account.objects.open().filter(by_owner).values_list("strategy", flat=True)
        return live & set(owned)

    def _bring_about(self, wake: Wake) -> int:
        """Do what time alone brings about; what nobody announces is looked for in a sweep."""
        at = self._clock()
        changed = performance_alerts.advance(at=at)
        if wake.is_sweep or wake.payloads:
            changed += performance_alerts.end_orphans(at=at)
        if wake.is_sweep:
            breaches = standing_breaches.of_processes(at=at, watched_since=self._since)
            changed += performance_alerts.observe(breaches, at=at)
        breaches = standing_breaches.of_trading_states(at=at)
        return len(changed) + len(performance_alerts.observe(breaches, at=at))

    def _remember(
        self, accounts: Sequence[tuple[UUID, UUID, int]], scope: Affected, began: float
    ) -> None:
        # Read before the pass: a change during it is found by the next one.
        if scope.strategy_ids is None:
            self._judged = {account: revision for account, _, revision in accounts}
            self._full_at = began
            return
        judged = set(scope.strategy_ids)
        self._judged |= {
            account: revision for account, strategy, revision in accounts if strategy in judged
        }

    def _count(self, done: Pass) -> None:
        self._n_passes += 1
        if done.n_strategies:
            self._passes.append(done)
        if done.stored_seconds > SLOW_SECONDS:
            logger.warning(
                "slow pass",
                extra={"seconds": done.stored_seconds, "strategies": done.n_strategies},
            )

    def summary(self) -> dict[str, object]:
        """Return what the heartbeat says of the passes so far; times in milliseconds."""
        evaluated = [one.evaluated_seconds for one in self._passes]
        stored = [one.stored_seconds for one in self._passes]
        last = self._passes[-1] if self._passes else None
        return {
            "n_passes": self._n_passes,
            "n_strategies": max((one.n_strategies for one in self._passes), default=0),
            "n_rules": last.n_rules if last else 0,
            "evaluated_ms": _percentiles(evaluated),
            "stored_ms": _percentiles(stored),
        }


def _with_portfolios(strategies: set[UUID]) -> list[UUID]:
    """Add the other members of portfolios that a rule looks at: those are judged as a whole."""
    watched = ThresholdRule.objects.enabled().filter(scope=RuleScope.PORTFOLIO)
    touched = PortfolioMember.objects.filter(
        strategy__in=strategies, portfolio__in=watched.values("portfolio")
    )
    others = PortfolioMember.objects.filter(
        portfolio__in=touched.values("portfolio"), strategy__accounts__closed_at__isnull=True
    ).filter(strategy__accounts__isnull=False)
    return sorted(strategies | set(others.values_list("strategy", flat=True)))


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    p50, p95, p99 = np.percentile(np.array(seconds) * 1000, [50, 95, 99]).round(1).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(max(seconds) * 1000, 1)}
