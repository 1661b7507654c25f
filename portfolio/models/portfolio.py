"""Portfolios: strategies as assets, their limits, target weights and rebalances."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import bounded_check, choices_check
from alphastrat.core.fields import MoneyField
from alphastrat.core.models import TimeStampedModel, UUIDModel


class TradingState(models.TextChoices):
    """What orders are let through."""

    ACTIVE = "active", "Active"
    REDUCING = "reducing", "Reducing only"
    HALTED = "halted", "Halted"


class PortfolioQuerySet(models.QuerySet["Portfolio"]):
    """Portfolios by owner."""

    def for_user(self, user: Any) -> PortfolioQuerySet:
        """Return the user's own portfolios; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)


class Portfolio(UUIDModel, TimeStampedModel):
    """Capital shared out over strategies."""

    State = TradingState

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="portfolios")
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3, default="USD")
    # Capital that no strategy has.
    reserve = MoneyField(default=0)
    trading_state = models.CharField(
        max_length=8, choices=TradingState, default=TradingState.ACTIVE
    )
    state_reason = models.CharField(max_length=300, blank=True)
    state_changed_at = models.DateTimeField(null=True, blank=True)
    # While halted: whether stops, targets and trailing stops of what is held still act.
    keeps_protection = models.BooleanField(default=True)
    # Method, constraints and rebalancing policy as the forms describe them.
    allocation_settings = models.JSONField(default=dict)
    rebalance_settings = models.JSONField(default=dict)

    objects = PortfolioQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"], name="portfolio_portfolio_unique_name"
            ),
            choices_check(
                "portfolio_portfolio_trading_state", "trading_state", TradingState.values
            ),
            bounded_check("portfolio_portfolio_reserve", "reserve", -1e15, 1e15),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return f"{reverse('portfolio:allocation')}?portfolio={self.pk}"


class PortfolioMember(models.Model):
    """A strategy's place in a portfolio."""

    portfolio = models.ForeignKey(Portfolio, models.CASCADE, related_name="members")
    strategy = models.ForeignKey(
        "strategies.Strategy", models.PROTECT, related_name="portfolio_members"
    )
    group = models.CharField(max_length=60, blank=True)
    target_weight = models.FloatField(default=0.0)
    minimum_weight = models.FloatField(null=True, blank=True)
    maximum_weight = models.FloatField(null=True, blank=True)
    locked_until = models.DateTimeField(null=True, blank=True)
    added_at = models.DateTimeField()
    # Marks later than this count, by the market's time; null from the opening of its account.
    counts_from = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["strategy__name"]
        constraints = [
            # Its capital can be in one portfolio only.
            models.UniqueConstraint(fields=["strategy"], name="portfolio_member_one_portfolio"),
            bounded_check("portfolio_member_target_weight", "target_weight", -1, 1),
        ]

    def __str__(self) -> str:
        return f"{self.strategy_id} in {self.portfolio_id}"


class FormerMember(models.Model):
    """A stay of a strategy in a portfolio that is over; its part of the result stays there.

    `counts_from` and `counts_until` are times of its account's marks, which in a replay are long
    past; `added_at` and `left_at` are when somebody did it.
    """

    portfolio = models.ForeignKey(Portfolio, models.CASCADE, related_name="former_members")
    strategy = models.ForeignKey(
        "strategies.Strategy", models.PROTECT, related_name="former_portfolios"
    )
    group = models.CharField(max_length=60, blank=True)
    added_at = models.DateTimeField()
    left_at = models.DateTimeField()
    counts_from = models.DateTimeField(null=True, blank=True)
    counts_until = models.DateTimeField()

    class Meta:
        ordering = ["-left_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(counts_from__isnull=True)
                | Q(counts_until__gte=models.F("counts_from")),
                name="portfolio_formermember_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.strategy_id} in {self.portfolio_id} until {self.left_at:%Y-%m-%d}"


class Optimisation(UUIDModel):
    """One answer of the optimiser: what was asked, and the weights with their evidence."""

    portfolio = models.ForeignKey(Portfolio, models.CASCADE, related_name="optimisations")
    job = models.ForeignKey("core.Job", models.SET_NULL, null=True, blank=True, related_name="+")
    method = models.CharField(max_length=40)
    options = models.JSONField(default=dict)
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=10, default="queued")
    failure_reason = models.TextField(blank=True)
    # Weights, risk contributions, frontier, bands, walk-forward and correlations.
    result = models.JSONField(null=True, blank=True)
    data_fingerprint = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            choices_check(
                "portfolio_optimisation_status",
                "status",
                ["queued", "running", "succeeded", "failed"],
            ),
        ]
        indexes = [
            # The newest answer of a portfolio.
            models.Index(
                fields=["portfolio", "-requested_at"], name="portfolio_optimisation_newest"
            )
        ]

    def __str__(self) -> str:
        return f"{self.method} for {self.portfolio_id}"


class PortfolioAllocation(models.Model):
    """The weight of a strategy in a portfolio at a time; appended, never changed.

    The mission's `date` is `allocated_at`, because a portfolio can be rebalanced twice a day.
    """

    portfolio = models.ForeignKey(Portfolio, models.PROTECT, related_name="allocations")
    strategy = models.ForeignKey("strategies.Strategy", models.PROTECT, related_name="allocations")
    allocated_at = models.DateTimeField()
    weight = models.FloatField()
    target_weight = models.FloatField()
    capital = MoneyField()
    rebalance = models.ForeignKey(
        "portfolio.Rebalance", models.PROTECT, null=True, blank=True, related_name="allocations"
    )

    class Meta:
        db_table = "portfolio_allocations"
        ordering = ["-allocated_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio", "strategy", "allocated_at"],
                name="portfolio_allocation_one_per_time",
            ),
            bounded_check("portfolio_allocation_weight", "weight", -1e3, 1e3),
        ]

    def __str__(self) -> str:
        return f"{self.weight:.1%} of {self.strategy_id}"


class RebalanceStatus(models.TextChoices):
    """Where a rebalance stands."""

    PROPOSED = "proposed", "Proposed"
    APPROVED = "approved", "Approved"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    REJECTED = "rejected", "Rejected"
    FAILED = "failed", "Failed"
    EXPIRED = "expired", "Expired"


UNDECIDED = (RebalanceStatus.PROPOSED, RebalanceStatus.APPROVED, RebalanceStatus.RUNNING)


class Rebalance(UUIDModel):
    """A proposal to move capital between strategies, and what became of it."""

    Status = RebalanceStatus

    portfolio = models.ForeignKey(Portfolio, models.PROTECT, related_name="rebalances")
    job = models.ForeignKey("core.Job", models.SET_NULL, null=True, blank=True, related_name="+")
    # The answer whose weights it is for, where a person applied one.
    optimisation = models.ForeignKey(
        "portfolio.Optimisation", models.SET_NULL, null=True, blank=True, related_name="rebalances"
    )
    trigger = models.CharField(max_length=40)
    reason = models.CharField(max_length=300, blank=True)
    status = models.CharField(
        max_length=8, choices=RebalanceStatus, default=RebalanceStatus.PROPOSED
    )
    proposed_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    decision_reason = models.CharField(max_length=300, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    equity = MoneyField()
    turnover = models.FloatField()
    cost = MoneyField(default=0)
    # Expected effect and the risk manager's checks.
    effect = models.JSONField(default=dict)
    checks = models.JSONField(default=list)

    class Meta:
        ordering = ["-proposed_at"]
        constraints = [
            choices_check("portfolio_rebalance_status", "status", RebalanceStatus.values),
            # One rebalance of a portfolio at a time.
            models.UniqueConstraint(
                fields=["portfolio"],
                condition=Q(status__in=UNDECIDED),
                name="portfolio_rebalance_one_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trigger} rebalance of {self.portfolio_id}"

    def get_absolute_url(self) -> str:
        return reverse("portfolio:rebalance-detail", args=[self.pk])

    @property
    def blocking_checks(self) -> list[dict[str, Any]]:
        """Return the checks that forbid an approval."""
        return [check for check in self.checks if check["blocks"]]

    @property
    def is_undecided(self) -> bool:
        return self.status in UNDECIDED


class RebalanceTrade(models.Model):
    """The part of a rebalance that changes one strategy's capital; done once."""

    rebalance = models.ForeignKey(Rebalance, models.CASCADE, related_name="trades")
    strategy = models.ForeignKey("strategies.Strategy", models.PROTECT, related_name="+")
    account = models.ForeignKey("portfolio.Account", models.PROTECT, related_name="+")
    sequence = models.PositiveSmallIntegerField()
    weight_before = models.FloatField()
    weight_after = models.FloatField()
    amount = MoneyField(help_text="Capital that comes, negative for capital that leaves.")
    cost = MoneyField(default=0)
    done_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["rebalance", "strategy"], name="portfolio_rebalancetrade_one_per_strategy"
            )
        ]

    def __str__(self) -> str:
        return f"{self.amount} for {self.strategy_id}"
