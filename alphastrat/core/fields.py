"""Exact amounts in the database; `core.money.to_decimal` is the door into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from alphastrat.core.money import (
    LEDGER_PLACES,
    MONEY_PLACES,
    PRICE_PLACES,
    QUANTITY_PLACES,
)

# Only the type checker knows the field as generic.
if TYPE_CHECKING:
    ExactField = models.DecimalField[Any, Any]
else:
    ExactField = models.DecimalField


class PriceField(ExactField):
    """Account currency per unit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 20, "decimal_places": PRICE_PLACES, **options})


class QuantityField(ExactField):
    """Units of an instrument."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 24, "decimal_places": QUANTITY_PLACES, **options})


class MoneyField(ExactField):
    """Account currency."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 20, "decimal_places": MONEY_PLACES, **options})


class LedgerField(ExactField):
    """Account currency with every digit that prices times quantities have."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 40, "decimal_places": LEDGER_PLACES, **options})
