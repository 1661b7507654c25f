"""What an account holds now and was worth at each bar: derived from its fills."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models

from alphastrat.core.constraints import bounded_check
from alphastrat.core.fields import LedgerField, MoneyField, PriceField, QuantityField

MAX_AMOUNT = 1e15


class PositionQuerySet(models.QuerySet["Position"]):
    """Positions by owner."""

    def for_user(self, user: Any) -> PositionQuerySet:
        """Return the positions of the user's strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(account__strategy__owner=user)

    def held(self) -> PositionQuerySet:
        return self.exclude(quantity=0)


class Position(models.Model):
    """Net holding of an account in one instrument; rebuilt from the fills."""

    account = models.ForeignKey("portfolio.Account", models.CASCADE, related_name="positions")
    instrument = models.ForeignKey("marketdata.Instrument", models.PROTECT, related_name="+")
    quantity = QuantityField(help_text="Negative for a short position.")
    cost = LedgerField()
    realised = LedgerField()
    commission = MoneyField(default=0)
    mark_price = PriceField(null=True, blank=True)
    marked_at = models.DateTimeField(null=True, blank=True)
    entered_at = models.DateTimeField(null=True, blank=True)
    # Where protective exits stand: stop, target, best price since the entry, bars held.
    protection = models.JSONField(default=dict)

    objects = PositionQuerySet.as_manager()

    class Meta:
        ordering = ["instrument__symbol"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "instrument"], name="portfolio_position_unique_instrument"
            ),
            bounded_check("portfolio_position_quantity", "quantity", -MAX_AMOUNT, MAX_AMOUNT),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} {self.instrument_id}"

    @property
    def average_price(self) -> Decimal | None:
        """Return the cost per unit; None when flat."""
        return self.cost / self.quantity if self.quantity else None

    @property
    def value(self) -> Decimal | None:
        """Return the market value, negative for a short position; None without a price."""
        if self.mark_price is None:
            return None
        return Decimal(self.quantity * self.mark_price)

    @property
    def unrealised(self) -> Decimal | None:
        """Return the P&L of closing at the newest price, before commission."""
        return None if self.value is None else self.value - self.cost


class EquityPoint(models.Model):
    """What an account was worth at the close of a bar: cash + positions = equity."""

    pk = models.CompositePrimaryKey("account_id", "marked_at")
    account = models.ForeignKey(
        "portfolio.Account", models.CASCADE, related_name="equity_points", db_index=False
    )
    marked_at = models.DateTimeField()
    cash = MoneyField()
    position_value = MoneyField()
    equity = MoneyField()
    realised = MoneyField(default=0)
    unrealised = MoneyField(default=0)
    commission = MoneyField(default=0)
    # Capital put in or taken out since the point before.
    net_flow = MoneyField(default=0)
    # Since the point before, without flows; null at the first point.
    bar_return = models.FloatField(null=True, blank=True)
    gross_exposure = models.FloatField(default=0.0, help_text="Gross positions over equity.")
    # Told by someone else, and so never computed again.
    is_reported = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    equity=models.F("cash") + models.F("position_value"),
                ),
                name="portfolio_equitypoint_cash_and_positions_are_equity",
            ),
            bounded_check("portfolio_equitypoint_equity", "equity", -MAX_AMOUNT, MAX_AMOUNT),
        ]

    def __str__(self) -> str:
        return f"{self.equity} at {self.marked_at:%Y-%m-%d %H:%M}"
