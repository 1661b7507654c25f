"""Threshold rules: bounds that a metric of a strategy or portfolio must respect."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import bounded_check, choices_check
from alphastrat.core.models import TimeStampedModel, UUIDModel

MAX_BOUND = 1e12


class Scope(models.TextChoices):
    """What a rule looks at."""

    ALL = "all", "All strategies"
    PORTFOLIO = "portfolio", "A portfolio"
    STRATEGY = "strategy", "A strategy"


class Comparator(models.TextChoices):
    """The side of the bound that is in breach."""

    ABOVE = "above", "Above"
    BELOW = "below", "Below"


class Severity(models.TextChoices):
    """How urgent an alert is."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"


class NoDataPolicy(models.TextChoices):
    """What a missing value means; it never resolves an alert."""

    IGNORE = "ignore", "Wait for data"
    ALERT = "alert", "Alert on missing data"


class ThresholdRuleQuerySet(models.QuerySet["ThresholdRule"]):
    """Rules by owner."""

    def for_user(self, user: Any) -> ThresholdRuleQuerySet:
        """Return the user's own rules; an administrator sees all of them."""
        return self if user.has_role("admin") else self.filter(owner=user)

    def enabled(self) -> ThresholdRuleQuerySet:
        return self.filter(is_enabled=True)


class ThresholdRule(UUIDModel, TimeStampedModel):
    """A metric, its bounds, and when being beyond them makes an alert."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="threshold_rules"
    )
    name = models.CharField(max_length=120)
    scope = models.CharField(max_length=9, choices=Scope, default=Scope.ALL)
    strategy = models.ForeignKey(
        "strategies.Strategy",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="threshold_rules",
    )
    portfolio = models.ForeignKey(
        "portfolio.Portfolio",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="threshold_rules",
    )
    metric = models.CharField(max_length=40)
    comparator = models.CharField(max_length=5, choices=Comparator)
    warning_bound = models.FloatField(null=True, blank=True)
    critical_bound = models.FloatField(null=True, blank=True)
    clear_bound = models.FloatField(
        null=True, blank=True, help_text="Where a breach ends; empty: at the bound itself."
    )
    window_bars = models.PositiveIntegerField(null=True, blank=True)
    minimum_observations = models.PositiveIntegerField(default=1)
    pending_seconds = models.PositiveIntegerField(default=0)
    cooldown_seconds = models.PositiveIntegerField(default=3600)
    escalate_after_seconds = models.PositiveIntegerField(null=True, blank=True)
    # Calendar code of an exchange in whose sessions the rule is active; empty: always.
    active_calendar = models.CharField(max_length=10, blank=True)
    no_data_policy = models.CharField(
        max_length=6, choices=NoDataPolicy, default=NoDataPolicy.IGNORE
    )
    is_enabled = models.BooleanField(default=True)
    template = models.CharField(max_length=20, blank=True)
    # Grows with every change: an edit of an older one is a conflict.
    version = models.PositiveIntegerField(default=1)

    objects = ThresholdRuleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="monitoring_rule_unique_name"),
            choices_check("monitoring_rule_scope", "scope", Scope.values),
            choices_check("monitoring_rule_comparator", "comparator", Comparator.values),
            choices_check("monitoring_rule_no_data", "no_data_policy", NoDataPolicy.values),
            models.CheckConstraint(
                condition=Q(scope="all", strategy__isnull=True, portfolio__isnull=True)
                | Q(scope="strategy", strategy__isnull=False, portfolio__isnull=True)
                | Q(scope="portfolio", strategy__isnull=True, portfolio__isnull=False),
                name="monitoring_rule_scope_has_subject",
            ),
            models.CheckConstraint(
                condition=Q(warning_bound__isnull=False) | Q(critical_bound__isnull=False),
                name="monitoring_rule_has_bound",
            ),
            *(
                bounded_check(f"monitoring_rule_{name}", name, -MAX_BOUND, MAX_BOUND)
                for name in ("warning_bound", "critical_bound", "clear_bound")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("monitoring:threshold-edit", args=[self.pk])
