"""Accounts that strategies trade in, and what came into them besides fills."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check
from alphastrat.core.fields import LedgerField, MoneyField
from alphastrat.core.models import TimeStampedModel, UUIDModel


class BrokerName(models.TextChoices):
    """Where an account's orders are filled."""

    PAPER = "paper", "Paper"
    EXTERNAL = "external", "External"
    ALPACA = "alpaca", "Alpaca"


class AccountQuerySet(models.QuerySet["Account"]):
    """Accounts by owner and state."""

    def for_user(self, user: Any) -> AccountQuerySet:
        """Return the accounts of the user's strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(strategy__owner=user)

    def open(self) -> AccountQuerySet:
        return self.filter(closed_at__isnull=True)


class Account(UUIDModel, TimeStampedModel):
    """The money of one strategy at one broker."""

    Broker = BrokerName

    strategy = models.ForeignKey("strategies.Strategy", models.PROTECT, related_name="accounts")
    broker = models.CharField(max_length=8, choices=BrokerName, default=BrokerName.PAPER)
    # The broker's own name of the account; empty for paper.
    reference = models.CharField(max_length=60, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    opening_cash = MoneyField()
    costs = models.JSONField(default=dict)
    opened_at = models.DateTimeField(help_text="Bars that close later are traded.")
    closed_at = models.DateTimeField(null=True, blank=True)
    # How far paper trading has come: bars closed by then are filled and marked, and decided on.
    marked_to = models.DateTimeField(null=True, blank=True)
    decided_to = models.DateTimeField(null=True, blank=True)
    # The ledger now, exactly; derived from fills and movements.
    cash = LedgerField(default=0)
    deposits = LedgerField(default=0)
    other_income = LedgerField(default=0)
    # Worth at the newest mark.
    equity = MoneyField(default=0)
    # Equity comes from outside: nothing is marked from the fills.
    reports_equity = models.BooleanField(default=False)
    # Grows with every fill, movement and mark: what was derived from an older one is stale.
    revision = models.PositiveBigIntegerField(default=0)
    # The revision that last changed anything before the newest mark: later ones only added to it.
    past_revision = models.PositiveBigIntegerField(default=0)

    objects = AccountQuerySet.as_manager()

    class Meta:
        ordering = ["opened_at"]
        constraints = [
            choices_check("portfolio_account_broker", "broker", BrokerName.values),
            models.CheckConstraint(
                condition=Q(opening_cash__gte=0, opening_cash__lt=1e15),
                name="portfolio_account_opening_cash_in_range",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=models.F("opened_at")),
                name="portfolio_account_closes_after_opening",
            ),
            # A strategy trades in one account at a time.
            models.UniqueConstraint(
                fields=["strategy"],
                condition=Q(closed_at__isnull=True),
                name="portfolio_account_one_open_per_strategy",
            ),
            # An account at the broker is one strategy's: nobody could tell positions apart.
            models.UniqueConstraint(
                fields=["broker", "reference"],
                condition=Q(closed_at__isnull=True, broker="alpaca"),
                name="portfolio_account_one_per_broker_account",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.strategy} ({self.get_broker_display()})"

    def get_absolute_url(self) -> str:
        return reverse("portfolio:account-detail", args=[self.pk])

    @property
    def total_return(self) -> Decimal | None:
        """Return the change of equity over what was put in; None without capital."""
        return self.equity / self.deposits - 1 if self.deposits > 0 else None


class MovementKind(models.TextChoices):
    """Why cash moved without a fill."""

    DEPOSIT = "deposit", "Deposit"
    WITHDRAWAL = "withdrawal", "Withdrawal"
    TRANSFER = "transfer", "Transfer between strategies"
    DIVIDEND = "dividend", "Dividend"
    INTEREST = "interest", "Interest"
    BORROW = "borrow", "Borrow cost"
    FEE = "fee", "Fee"


# Cash put in or taken out is no performance; everything else is.
CAPITAL_MOVEMENTS = (MovementKind.DEPOSIT, MovementKind.WITHDRAWAL, MovementKind.TRANSFER)


class CashMovement(models.Model):
    """Cash that came or went without a fill; never changed."""

    Kind = MovementKind

    account = models.ForeignKey(Account, models.PROTECT, related_name="movements")
    kind = models.CharField(max_length=10, choices=MovementKind)
    amount = MoneyField(help_text="Negative for cash that left.")
    moved_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    source = models.CharField(max_length=20)
    execution_id = models.CharField(max_length=120)

    class Meta:
        ordering = ["moved_at", "pk"]
        constraints = [
            choices_check("portfolio_movement_kind", "kind", MovementKind.values),
            models.CheckConstraint(
                condition=Q(amount__gt=-1e15, amount__lt=1e15),
                name="portfolio_movement_amount_in_range",
            ),
            # A movement that is delivered twice is one.
            models.UniqueConstraint(
                fields=["account", "source", "execution_id"],
                name="portfolio_movement_natural_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} at {self.moved_at:%Y-%m-%d %H:%M}"
