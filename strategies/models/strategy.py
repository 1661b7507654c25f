"""A configured use of a plug-in, its immutable versions and its lifecycle."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check
from alphastrat.core.errors import ConflictError
from alphastrat.core.models import TimeStampedModel, UUIDModel
from alphastrat.quant.types import Timeframe
from strategies.models.performance import PerformanceSource, StrategyPerformance
from strategies.models.signal import SignalKind, StrategySignal
from strategies.quant import registry

TIMEFRAMES = [(timeframe.value, timeframe.value) for timeframe in Timeframe]


class LifecycleState(models.TextChoices):
    """How far a strategy has been trusted."""

    RESEARCH = "research", "Research"
    VALIDATED = "validated", "Validated"
    PAPER = "paper", "Paper"
    LIVE = "live", "Live"
    SUSPENDED = "suspended", "Suspended"
    RETIRED = "retired", "Retired"


ACTIVE_STATES = (LifecycleState.PAPER, LifecycleState.LIVE)
TRANSITIONS: dict[str, tuple[LifecycleState, ...]] = {
    LifecycleState.RESEARCH: (LifecycleState.VALIDATED, LifecycleState.RETIRED),
    LifecycleState.VALIDATED: (
        LifecycleState.PAPER,
        LifecycleState.RESEARCH,
        LifecycleState.RETIRED,
    ),
    LifecycleState.PAPER: (
        LifecycleState.LIVE,
        LifecycleState.SUSPENDED,
        LifecycleState.RETIRED,
    ),
    LifecycleState.LIVE: (LifecycleState.SUSPENDED, LifecycleState.RETIRED),
    LifecycleState.SUSPENDED: (
        LifecycleState.PAPER,
        LifecycleState.RESEARCH,
        LifecycleState.RETIRED,
    ),
    LifecycleState.RETIRED: (),
}


class StrategyQuerySet(models.QuerySet["Strategy"]):
    """Strategies by owner and state."""

    def for_user(self, user: Any) -> StrategyQuerySet:
        """Return the user's own strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)

    def active(self) -> StrategyQuerySet:
        """Return the strategies that give signals when a bar closes."""
        return self.filter(state__in=ACTIVE_STATES)

    def with_version(self) -> StrategyQuerySet:
        return self.select_related("current_version", "owner")

    def with_performance(self) -> StrategyQuerySet:
        """Annotate the headline numbers of the newest backtest of each strategy's own versions."""
        newest = StrategyPerformance.objects.filter(
            strategy=models.OuterRef("pk"), source=PerformanceSource.BACKTEST
        ).order_by("-created_at")
        columns = ("total_return", "sharpe_ratio", "max_drawdown", "total_trades", "run")
        return self.annotate(
            **{f"latest_{name}": models.Subquery(newest.values(name)[:1]) for name in columns}
        )

    def with_last_signal(self) -> StrategyQuerySet:
        """Annotate the close of the bar at which each strategy last gave a buy or a sell."""
        given = StrategySignal.objects.filter(strategy=models.OuterRef("pk"))
        newest = given.exclude(signal_type=SignalKind.HOLD).order_by("-closed_at")
        return self.annotate(last_signal_at=models.Subquery(newest.values("closed_at")[:1]))


class Strategy(UUIDModel, TimeStampedModel):
    """A plug-in with parameters, a universe and an owner."""

    State = LifecycleState

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="strategies")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    plugin = models.CharField(max_length=60)
    parameters = models.JSONField(default=dict)
    universe = models.ManyToManyField("marketdata.Instrument", related_name="strategies")
    timeframe = models.CharField(max_length=3, choices=TIMEFRAMES, default=Timeframe.DAY_1.value)
    state = models.CharField(max_length=9, choices=LifecycleState, default=LifecycleState.RESEARCH)
    state_changed_at = models.DateTimeField(null=True, blank=True)
    # Null only between the insertion of the strategy and of its first version.
    current_version = models.ForeignKey(
        "strategies.StrategyVersion",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )

    objects = StrategyQuerySet.as_manager()

    class Meta:
        db_table = "strategies"
        ordering = ["name"]
        verbose_name_plural = "strategies"
        indexes = [
            # Commands and sweeps ask for the active strategies, few of all that there are.
            models.Index(
                fields=["timeframe"],
                condition=Q(state__in=ACTIVE_STATES),
                name="strategies_strategy_active",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"], name="strategies_strategy_unique_name"
            ),
            choices_check("strategies_strategy_state", "state", LifecycleState.values),
            choices_check(
                "strategies_strategy_timeframe", "timeframe", [value for value, _ in TIMEFRAMES]
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("strategies:strategy-detail", args=[self.pk])

    @property
    def type_label(self) -> str:
        return registry.label_of(self.plugin)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_STATES

    @property
    def next_states(self) -> tuple[LifecycleState, ...]:
        return TRANSITIONS[self.state]

    def move_to(self, state: str, *, at: Any) -> None:
        """Claim a transition of the lifecycle; raises ConflictError where there is none."""
        if state not in self.next_states:
            allowed = ", ".join(self.next_states) or "no other state"
            raise ConflictError(
                f"A strategy in {self.state} can move to {allowed}, not to {state}."
            )
        claimed = Strategy.objects.filter(pk=self.pk, state=self.state).update(
            state=state, state_changed_at=at
        )
        if not claimed:
            raise ConflictError("This strategy has changed state in the meantime.")
        self.refresh_from_db()


class StrategyVersionQuerySet(models.QuerySet["StrategyVersion"]):
    """Versions of strategies with what they earned."""

    def with_results(self) -> StrategyVersionQuerySet:
        """Annotate how many backtests each version has, and the headline of the newest."""
        measured = StrategyPerformance.objects.filter(
            source=PerformanceSource.BACKTEST, run__strategy_version=models.OuterRef("pk")
        )
        newest = measured.order_by("-created_at")
        counted = (
            measured.order_by()
            .values("run__strategy_version")
            .annotate(n_runs=models.Count("pk"))
            .values("n_runs")
        )
        columns = ("run", "total_return", "sharpe_ratio", "max_drawdown")
        return self.annotate(
            n_runs=models.Subquery(counted),
            **{f"latest_{name}": models.Subquery(newest.values(name)[:1]) for name in columns},
        )


class StrategyVersion(UUIDModel):
    """What a strategy was at one time; never changed once written."""

    strategy = models.ForeignKey(Strategy, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    plugin = models.CharField(max_length=60)
    parameters = models.JSONField(default=dict)
    symbols = ArrayField(models.CharField(max_length=40))
    timeframe = models.CharField(max_length=3, choices=TIMEFRAMES)
    exit_rules = models.JSONField(default=dict)
    sizing = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = StrategyVersionQuerySet.as_manager()

    class Meta:
        ordering = ["strategy", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["strategy", "number"], name="strategies_strategyversion_unique_number"
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1), name="strategies_strategyversion_number_from_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.strategy.name} v{self.number}"
