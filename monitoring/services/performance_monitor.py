"""What the active monitor does when it wakes: judge what is affected, all of it in one pass.

Rules come first, and their alerts are told before any verdict is given: a bar that closes for all
strategies at once makes nobody wait for the tests. A lost notification costs seconds: every pass
compares the revision of each account with the one it judged last, and in every minute everything
is read and judged afresh, a part in each sweep, whether or not anything seems to have changed.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import numpy as np
from django.db.models import Q
from django.utils.timezone import now

from alphastrat.core.notify import Wake
from monitoring.models import ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.quant.live_metrics import OF_VERDICTS
from monitoring.services import (
    lifecycle_gates,
    observations,
    performance_alerts,
    rule_evaluation,
    rule_metrics,
    standing_breaches,
)
from monitoring.services.account_series import Memory
from monitoring.services.performance_alerts import Breach
from monitoring.services.performance_validator import Evaluated
from monitoring.services.rules import MONITOR
from portfolio.models import Account, PortfolioMember

logger = logging.getLogger(__name__)

# After this long a strategy is read and judged afresh, no more of them at once than a share.
AFRESH_SECONDS, AFRESH_SHARE = 60.0, 12
N_REMEMBERED = 500
SLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: how much it judged, what came of it, and when it was that far."""

    n_strategies: int = 0
    n_rules: int = 0
    n_breaches: int = 0
    n_alerts: int = 0
    alerted_seconds: float = 0.0
    stored_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """The revision of an account that was judged last, and when on the stopwatch."""

    revision: int
    seconds: float


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
        self._judged: dict[UUID, Judged] = {}
        self._memory = Memory()
        self._passes: deque[Pass] = deque(maxlen=N_REMEMBERED)
        self._n_passes = 0

    def run_pass(self, wake: Wake, *, at: datetime) -> Pass:
        """Judge what `wake` is about and what has changed without a word; store what follows."""
        began = self._stopwatch()
        accounts = list(Account.objects.open().values_list("pk", "strategy", "revision"))
        scope = self._scope(wake, accounts, began)
        done = Pass() if scope.is_empty else self._judge(scope, began, at=at)
        n_brought = self._bring_about(wake)
        self._remember(accounts, scope, began)
        done = replace(
            done,
            n_alerts=done.n_alerts + n_brought,
            stored_seconds=self._stopwatch() - began,
        )
        self._count(done)
        return done

    def _judge(self, scope: Affected, began: float, *, at: datetime) -> Pass:
        """Hold the rules that need no verdict and tell what they find; then judge, and the rest."""
        rules = list(ThresholdRule.objects.enabled())
        seen = observations.load(scope.strategy_ids, at=at, memory=self._memory)
        values = rule_metrics.values_of(seen, None)
        prompt = [rule for rule in rules if rule.metric not in OF_VERDICTS]
        seen_at = self._clock()
        breaches = rule_evaluation.breaches_of(prompt, values, at=seen_at, recorded_at=at)
        n_alerts = len(performance_alerts.observe(breaches, at=seen_at))
        alerted_seconds = self._stopwatch() - began

        evaluated = lifecycle_gates.judge(scope.strategy_ids, at=at, memory=self._memory)
        judged_at = self._clock()
        of_verdicts = self._of_verdicts(rules, evaluated, at=judged_at, recorded_at=at)
        n_alerts += len(performance_alerts.observe(of_verdicts, at=judged_at))
        return Pass(
            n_strategies=seen.shape[0],
            n_rules=len(rules),
            n_breaches=len(breaches) + len(of_verdicts),
            n_alerts=n_alerts,
            alerted_seconds=alerted_seconds,
        )

    def _of_verdicts(
        self,
        rules: Sequence[ThresholdRule],
        evaluated: Evaluated,
        *,
        at: datetime,
        recorded_at: datetime,
    ) -> list[Breach]:
        """Return the breaches that verdicts are, and those of rules about their numbers."""
        breaches = standing_breaches.of_verdicts(
            evaluated.verifications, at=at, recorded_at=recorded_at
        )
        about = [rule for rule in rules if rule.metric in OF_VERDICTS]
        if not about:
            return breaches
        values = rule_metrics.values_of(evaluated.observations, evaluated.assessment)
        return breaches + rule_evaluation.breaches_of(about, values, at=at, recorded_at=recorded_at)

    def _scope(
        self, wake: Wake, accounts: Sequence[tuple[UUID, UUID, int]], began: float
    ) -> Affected:
        payloads = wake.payloads.get(MONITOR, frozenset())
        if "" in payloads:
            return Affected(None)
        woken = {one.removeprefix("account:") for one in payloads if one.startswith("account:")}
        overdue = self._overdue(accounts, began) if wake.is_sweep else set()
        self._memory.forget(overdue)
        affected = {
            strategy
            for account, strategy, revision in accounts
            if str(account) in woken or strategy in overdue or self._is_new(account, revision)
        }
        rules = [one.removeprefix("rule:") for one in payloads if one.startswith("rule:")]
        if rules:
            affected |= self._of_rules(rules, {strategy for _, strategy, _ in accounts})
        return Affected(tuple(_with_portfolios(affected))) if affected else Affected(())

    def _is_new(self, account: UUID, revision: int) -> bool:
        judged = self._judged.get(account)
        return judged is None or judged.revision != revision

    def _overdue(self, accounts: Sequence[tuple[UUID, UUID, int]], began: float) -> set[UUID]:
        """Return the strategies that were judged longest ago, as many as one sweep takes on."""
        ages = [
            (judged.seconds, strategy)
            for account, strategy, _ in accounts
            if (judged := self._judged.get(account)) is not None
            and began - judged.seconds >= AFRESH_SECONDS
        ]
        n_at_once = len(accounts) // AFRESH_SHARE + 1
        return {strategy for _, strategy in sorted(ages)[:n_at_once]}

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
        judged = None if scope.strategy_ids is None else set(scope.strategy_ids)
        self._judged |= {
            account: Judged(revision, began)
            for account, strategy, revision in accounts
            if judged is None or strategy in judged
        }
        closed = self._judged.keys() - {account for account, _, _ in accounts}
        if closed:
            self._judged = {key: one for key, one in self._judged.items() if key not in closed}
            self._memory.keep({strategy for _, strategy, _ in accounts})

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
        alerted = [one.alerted_seconds for one in self._passes]
        stored = [one.stored_seconds for one in self._passes]
        last = self._passes[-1] if self._passes else None
        return {
            "n_passes": self._n_passes,
            "n_strategies": max((one.n_strategies for one in self._passes), default=0),
            "n_rules": last.n_rules if last else 0,
            "alerted_ms": _percentiles(alerted),
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
