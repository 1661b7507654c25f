"""Orders and their fills."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check
from alphastrat.core.fields import MoneyField, PriceField, QuantityField
from alphastrat.core.models import UUIDModel
from alphastrat.quant.types import Side

SIDES = [(side.value, side.value.title()) for side in Side]


class OrderStatus(models.TextChoices):
    """Where an order stands."""

    PENDING = "pending", "Pending"
    DENIED = "denied", "Denied"
    WORKING = "working", "Working"
    FILLED = "filled", "Filled"
    CANCELLED = "cancelled", "Cancelled"
    REJECTED = "rejected", "Rejected"
    EXPIRED = "expired", "Expired"


OPEN_STATUSES = (OrderStatus.PENDING, OrderStatus.WORKING)


class OrderReason(models.TextChoices):
    """What an order is for; the simulator's words where it has them."""

    ENTRY = "entry", "Entry"
    SIGNAL = "signal", "Exit signal"
    REVERSAL = "reversal", "Reversal"
    TIME = "time", "Time stop"
    STOP = "stop", "Stop-loss"
    TARGET = "target", "Take-profit"
    TRAILING = "trailing", "Trailing stop"
    REBALANCE = "rebalance", "Rebalance"
    REDUCE = "reduce", "Risk reduction"
    CLOSE = "close", "Close-out"


class OrderQuerySet(models.QuerySet["Order"]):
    """Orders by owner and state."""

    def for_user(self, user: Any) -> OrderQuerySet:
        """Return the orders of the user's strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(account__strategy__owner=user)

    def open(self) -> OrderQuerySet:
        return self.filter(status__in=OPEN_STATUSES)


class Order(UUIDModel):
    """What is to be bought or sold, and what became of it."""

    Status = OrderStatus
    Reason = OrderReason

    account = models.ForeignKey("portfolio.Account", models.PROTECT, related_name="orders")
    strategy_version = models.ForeignKey(
        "strategies.StrategyVersion", models.PROTECT, null=True, blank=True, related_name="+"
    )
    instrument = models.ForeignKey("marketdata.Instrument", models.PROTECT, related_name="+")
    signal = models.ForeignKey(
        "strategies.StrategySignal", models.PROTECT, null=True, blank=True, related_name="orders"
    )
    # Ours, the same for the same decision: what makes submitting it twice harmless.
    client_order_id = models.CharField(max_length=120)
    broker_order_id = models.CharField(max_length=120, blank=True)
    side = models.CharField(max_length=4, choices=SIDES)
    # Null while the fill model decides it at the open, as the backtest does.
    quantity = QuantityField(null=True, blank=True)
    # What the fill model would give at the reference price: what limits are checked against.
    expected_quantity = QuantityField(null=True, blank=True)
    reason = models.CharField(max_length=10, choices=OrderReason)
    status = models.CharField(max_length=9, choices=OrderStatus, default=OrderStatus.PENDING)
    # The close at which it was decided, against which slippage is measured.
    reference_price = PriceField(null=True, blank=True)
    decided_at = models.DateTimeField(help_text="Close of the bar that gave it.")
    submitted_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    denials = models.JSONField(default=list, help_text="Code, limit and value of each denial.")
    note = models.CharField(max_length=300, blank=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ["-decided_at"]
        constraints = [
            choices_check("portfolio_order_status", "status", OrderStatus.values),
            choices_check("portfolio_order_side", "side", [value for value, _ in SIDES]),
            choices_check("portfolio_order_reason", "reason", OrderReason.values),
            models.CheckConstraint(
                condition=Q(quantity__isnull=True) | Q(quantity__gt=0, quantity__lt=1e15),
                name="portfolio_order_quantity_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(status__in=OPEN_STATUSES) ^ Q(ended_at__isnull=False),
                name="portfolio_order_ended_has_time",
            ),
            models.UniqueConstraint(
                fields=["account", "client_order_id"], name="portfolio_order_unique_client_id"
            ),
        ]
        indexes = [
            # The open orders of an account at each bar.
            models.Index(
                fields=["account", "instrument"],
                condition=Q(status__in=OPEN_STATUSES),
                name="portfolio_order_open",
            ),
            # The orders page, newest first.
            models.Index(fields=["account", "-decided_at"], name="portfolio_order_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity or ''} {self.instrument_id} ({self.status})"


class FillSource(models.TextChoices):
    """Where a fill was learned of."""

    PAPER = "paper", "Paper"
    API = "api", "API"
    CSV = "csv", "CSV"
    ALPACA = "alpaca", "Alpaca"
    IBKR = "ibkr", "Interactive Brokers"
    FREQTRADE = "freqtrade", "freqtrade"


class FillQuerySet(models.QuerySet["Fill"]):
    """Fills by owner, and those that count."""

    def for_user(self, user: Any) -> FillQuerySet:
        """Return the fills of the user's strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(account__strategy__owner=user)

    def effective(self) -> FillQuerySet:
        """Return the fills that no later row corrects."""
        return self.filter(correction__isnull=True).exclude(is_cancelled=True)


class Fill(UUIDModel):
    """One execution; never changed: a correction is a new row."""

    Source = FillSource

    account = models.ForeignKey("portfolio.Account", models.PROTECT, related_name="fills")
    order = models.ForeignKey(Order, models.PROTECT, null=True, blank=True, related_name="fills")
    instrument = models.ForeignKey("marketdata.Instrument", models.PROTECT, related_name="+")
    source = models.CharField(max_length=10, choices=FillSource)
    execution_id = models.CharField(max_length=120)
    side = models.CharField(max_length=4, choices=SIDES)
    quantity = QuantityField()
    price = PriceField()
    commission = MoneyField(default=0, help_text="Positive for an amount paid.")
    # Price before slippage, where it is known: the open for a market order.
    reference_price = PriceField(null=True, blank=True)
    filled_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    corrects = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="correction"
    )
    # A correction that says the execution never was.
    is_cancelled = models.BooleanField(default=False)

    objects = FillQuerySet.as_manager()

    class Meta:
        ordering = ["filled_at", "recorded_at", "pk"]
        constraints = [
            choices_check("portfolio_fill_source", "source", FillSource.values),
            choices_check("portfolio_fill_side", "side", [value for value, _ in SIDES]),
            models.CheckConstraint(
                condition=Q(quantity__gt=0, quantity__lt=1e15),
                name="portfolio_fill_quantity_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(price__gte=0, price__lt=1e12), name="portfolio_fill_price_in_range"
            ),
            models.CheckConstraint(
                condition=Q(commission__gt=-1e12, commission__lt=1e12),
                name="portfolio_fill_commission_in_range",
            ),
            models.CheckConstraint(
                condition=Q(is_cancelled=False) | Q(corrects__isnull=False),
                name="portfolio_fill_cancelled_corrects_one",
            ),
            # A fill that is delivered twice is one.
            models.UniqueConstraint(
                fields=["account", "source", "execution_id"], name="portfolio_fill_natural_key"
            ),
        ]
        indexes = [
            # The ledger of an account in order of time.
            models.Index(fields=["account", "filled_at"], name="portfolio_fill_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} {self.instrument_id} at {self.price}"
