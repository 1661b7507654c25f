"""The only door from binary floating point to exact money."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal

PRICE_PLACES = 8
QUANTITY_PLACES = 8
MONEY_PLACES = 4
LEDGER_PLACES = 20


def to_decimal(value: float | Decimal | str, places: int) -> Decimal:
    """Return `value` as an exact decimal with `places` digits, halves to even.

    Raises ValueError if `value` is not finite: an undefined amount has no place in a ledger.
    """
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not math.isfinite(number):
        raise ValueError(f"an amount must be finite, was {value!r}")
    return number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
