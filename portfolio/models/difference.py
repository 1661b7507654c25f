"""Where a broker's books and ours do not agree, and what was decided about it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check
from alphastrat.core.models import UUIDModel


class DifferenceKind(models.TextChoices):
    """What does not agree."""

    POSITION = "position", "Position"
    CASH = "cash", "Cash"
    ORDER = "order", "Order"


class Resolution(models.TextChoices):
    """How a difference ended."""

    OPEN = "open", "Open"
    FILLS = "fills", "Missing fills fetched"
    GONE = "gone", "Agreed again"
    ACCEPTED = "accepted", "Accepted with a reason"


class BrokerDifference(UUIDModel):
    """One disagreement with a broker, from when it was found until it was resolved."""

    Kind = DifferenceKind
    Resolution = Resolution

    account = models.ForeignKey("portfolio.Account", models.CASCADE, related_name="differences")
    kind = models.CharField(max_length=8, choices=DifferenceKind)
    # The symbol, the client order id, or empty for cash.
    subject = models.CharField(max_length=120, blank=True)
    ours = models.CharField(max_length=60)
    theirs = models.CharField(max_length=60)
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When it was last found.")
    resolution = models.CharField(max_length=8, choices=Resolution, default=Resolution.OPEN)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-found_at"]
        constraints = [
            choices_check("portfolio_difference_kind", "kind", DifferenceKind.values),
            choices_check("portfolio_difference_resolution", "resolution", Resolution.values),
            models.CheckConstraint(
                condition=Q(resolution="open") ^ Q(resolved_at__isnull=False),
                name="portfolio_difference_resolved_has_time",
            ),
            # One open row per disagreement, however often it is found.
            models.UniqueConstraint(
                fields=["account", "kind", "subject"],
                condition=Q(resolution="open"),
                name="portfolio_difference_one_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.ours} here, {self.theirs} there"
