"""Threshold rules: bounds that a metric of a strategy or portfolio must respect."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import bounded_check, choices_check
from alphastrat.core.models import TimeStampedModel, UUIDModel
from alphastrat.quant.calendars import calendar
from monitoring.quant import thresholds
from monitoring.quant.metric_catalogue import METRICS

MAX_BOUND = 1e12


class RuleScope(models.TextChoices):
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
        """Return the user's own rules; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)

    def enabled(self) -> ThresholdRuleQuerySet:
        return self.filter(is_enabled=True)


class ThresholdRule(UUIDModel, TimeStampedModel):
    """A metric, its bounds, and when being beyond them makes an alert."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="threshold_rules"
    )
    name = models.CharField(max_length=120)
    scope = models.CharField(max_length=9, choices=RuleScope, default=RuleScope.ALL)
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
            choices_check("monitoring_rule_scope", "scope", RuleScope.values),
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

    @property
    def subject(self) -> str:
        """Return what the rule looks at; fetch strategy and portfolio with it."""
        return str(self.strategy or self.portfolio or self.get_scope_display())

    def clean(self) -> None:
        """Refuse a rule that could never work; form, admin and API all come through here."""
        super().clean()
        wrong: dict[str, str] = self._wrong_scope() | self._wrong_metric()
        if "metric" not in wrong and self.comparator in Comparator.values:
            wrong |= self._wrong_bounds()
        if self.active_calendar:
            try:
                calendar(self.active_calendar)
            except ValueError:
                wrong["active_calendar"] = "There is no exchange calendar of this code."
        same_name = ThresholdRule.objects.filter(owner=self.owner_id, name=self.name)
        if same_name.exclude(pk=self.pk).exists():
            wrong["name"] = "There is a rule of this name."
        if wrong:
            raise ValidationError(wrong)

    def _wrong_scope(self) -> dict[str, str]:
        for scope in (RuleScope.STRATEGY, RuleScope.PORTFOLIO):
            chosen = getattr(self, scope.value)
            if self.scope == scope and chosen is None:
                return {scope.value: f"Choose the {scope.value}."}
            if self.scope == scope and chosen.owner_id != self.owner_id:
                return {scope.value: f"This {scope.value} belongs to somebody else."}
            if self.scope != scope and chosen is not None:
                return {scope.value: "Leave this empty for this scope."}
        return {}

    def _wrong_metric(self) -> dict[str, str]:
        metric = METRICS.get(self.metric)
        if metric is None:
            return {"metric": "There is no metric of this name."}
        if self.scope == RuleScope.PORTFOLIO and not metric.is_for_portfolios:
            return {"metric": "Portfolios do not have this metric."}
        if metric.needs_window and not self.window_bars:
            return {"window_bars": "This metric needs a window."}
        if self.window_bars is not None and not metric.has_window:
            return {"window_bars": "This metric has no window."}
        needed = self.minimum_observations
        if self.window_bars and needed and needed > self.window_bars:
            return {"minimum_observations": "This is more than the window holds."}
        return {}

    def _wrong_bounds(self) -> dict[str, str]:
        scale = METRICS[self.metric].scale
        names = ("warning", "critical", "clear")
        levels = [getattr(self, f"{name}_bound") for name in names]
        # In the unit that people see, so that a message can name a bound.
        shown = [None if level is None else round(level * scale, 10) for level in levels]
        found = thresholds.problems(thresholds.Comparator(self.comparator), *shown)
        return {f"{problem.name}_bound": problem.text for problem in found}
