"""Risk limits, and what was done because of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check
from alphastrat.core.models import TimeStampedModel, UUIDModel
from portfolio.models.portfolio import TradingState


class RiskLimits(UUIDModel, TimeStampedModel):
    """Limits of a portfolio or of one strategy; null leaves a limit to the wider scope.

    Fractions are of equity; losses and drawdowns are negative.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="risk_limits")
    portfolio = models.OneToOneField(
        "portfolio.Portfolio", models.CASCADE, null=True, blank=True, related_name="limits"
    )
    strategy = models.OneToOneField(
        "strategies.Strategy", models.CASCADE, null=True, blank=True, related_name="limits"
    )
    # Name of a limit to its value; portfolio.quant.risk_limits knows names, ranges and defaults.
    values = models.JSONField(default=dict)
    # What a drawdown beyond its limit does: nothing but deny, reduce, or halt.
    drawdown_action = models.CharField(
        max_length=8,
        choices=[("deny", "Deny entries"), ("reduce", "Reduce"), ("halt", "Halt")],
        default="deny",
    )

    class Meta:
        verbose_name_plural = "risk limits"
        constraints = [
            models.CheckConstraint(
                condition=Q(portfolio__isnull=True) | Q(strategy__isnull=True),
                name="portfolio_risklimits_one_scope",
            ),
            # The owner's defaults, for everything that has none of its own.
            models.UniqueConstraint(
                fields=["owner"],
                condition=Q(portfolio__isnull=True, strategy__isnull=True),
                name="portfolio_risklimits_one_default",
            ),
            choices_check(
                "portfolio_risklimits_action", "drawdown_action", ["deny", "reduce", "halt"]
            ),
        ]

    def __str__(self) -> str:
        return f"Limits of {self.strategy or self.portfolio or self.owner}"


class RiskAction(UUIDModel):
    """A change of what may be traded: by a person, or by a limit; never changed."""

    portfolio = models.ForeignKey(
        "portfolio.Portfolio", models.CASCADE, null=True, blank=True, related_name="risk_actions"
    )
    strategy = models.ForeignKey(
        "strategies.Strategy", models.CASCADE, null=True, blank=True, related_name="risk_actions"
    )
    taken_at = models.DateTimeField()
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    trading_state = models.CharField(max_length=8, choices=TradingState)
    # Of a halt: whether stops, targets and trailing stops of what is held still act.
    keeps_protection = models.BooleanField(default=True)
    code = models.CharField(max_length=40, help_text="Limit that was passed, or MANUAL.")
    reason = models.CharField(max_length=300)
    evidence = models.JSONField(default=dict)

    class Meta:
        ordering = ["-taken_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(portfolio__isnull=False) | Q(strategy__isnull=False),
                name="portfolio_riskaction_has_subject",
            ),
            choices_check("portfolio_riskaction_state", "trading_state", TradingState.values),
        ]

    def __str__(self) -> str:
        return f"{self.trading_state} ({self.code})"


class StrategyStanding(models.Model):
    """What a strategy may do now, beside its portfolio's trading state."""

    strategy = models.OneToOneField(
        "strategies.Strategy", models.CASCADE, primary_key=True, related_name="standing"
    )
    trading_state = models.CharField(
        max_length=8, choices=TradingState, default=TradingState.ACTIVE
    )
    keeps_protection = models.BooleanField(default=True)
    # What verification says of it, as far as the portfolio acts on it: degraded, failed, or empty.
    verification = models.CharField(max_length=8, blank=True)
    # Share of its size that the drawdown limit leaves it.
    scale = models.DecimalField(max_digits=5, decimal_places=4, default=1)
    reason = models.CharField(max_length=300, blank=True)
    changed_at = models.DateTimeField()

    class Meta:
        constraints = [
            choices_check("portfolio_standing_state", "trading_state", TradingState.values),
            choices_check(
                "portfolio_standing_verification", "verification", ["", "degraded", "failed"]
            ),
            models.CheckConstraint(
                condition=Q(scale__gte=0, scale__lte=1), name="portfolio_standing_scale_in_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.strategy_id}: {self.trading_state}"
