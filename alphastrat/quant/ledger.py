"""Fills into positions, cash and profit and loss, exactly, in Decimal.

Average cost: a fill that adds to a position moves its average price; a fill that reduces it
realises the difference and leaves the average price; a fill that crosses zero closes the old
position and opens a new one at the fill's price. What a reduction releases is rounded to twenty
places and the rest stays in the cost of the position, so that the identity

    cash + position value = deposits + realised + unrealised P&L - commission + other income

holds to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, localcontext

from alphastrat.quant.types import Side

ZERO = Decimal(0)
# Twenty digits of price times twenty-four of quantity, with room to add a lifetime of fills.
_PRECISION = Context(prec=60)
# Released cost is rounded here and the rest stays in the position, so that no digit is lost.
_COST_STEP = Decimal("1e-20")


@dataclass(frozen=True, slots=True)
class LedgerFill:
    """One execution.

    Attributes
    ----------
    symbol : str
        Instrument.
    side : Side
        BUY or SELL.
    quantity : Decimal
        Units, positive.
    price : Decimal
        Account currency per unit, not negative.
    commission : Decimal
        Account currency, a positive amount paid; a rebate is negative.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal = ZERO

    def __post_init__(self) -> None:
        if not (self.quantity.is_finite() and self.quantity > 0):
            raise ValueError(f"a fill's quantity must be positive, was {self.quantity}")
        if not (self.price.is_finite() and self.price >= 0):
            raise ValueError(f"a fill's price must not be negative, was {self.price}")
        if not self.commission.is_finite():
            raise ValueError(f"a fill's commission must be finite, was {self.commission}")

    @property
    def signed_quantity(self) -> Decimal:
        """Change of the position: positive for a buy."""
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """Net holding of one instrument and what it cost.

    Attributes
    ----------
    quantity : Decimal
        Units; negative for a short position.
    cost : Decimal
        Amount paid for the open quantity; negative (received) for a short position.
    realised : Decimal
        Profit and loss of everything closed, before commission; a loss is negative.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Cost per unit; None when flat."""
        if self.quantity == 0:
            return None
        with localcontext(_PRECISION):
            return self.cost / self.quantity

    def value(self, price: Decimal) -> Decimal:
        """Return the market value at `price`, negative for a short position."""
        with localcontext(_PRECISION):
            return self.quantity * price

    def unrealised(self, price: Decimal) -> Decimal:
        """Return the profit or loss of closing at `price`, before commission."""
        with localcontext(_PRECISION):
            return self.quantity * price - self.cost

    def after(self, fill: LedgerFill) -> LedgerPosition:
        """Return the position after a fill.

        Parameters
        ----------
        fill : LedgerFill
            Execution in the same instrument.

        Returns
        -------
        LedgerPosition
            The new holding, with what the fill realised added.
        """
        with localcontext(_PRECISION):
            change = fill.signed_quantity
            if self.quantity * change >= 0:
                cost = self.cost + change * fill.price
                return replace(self, quantity=self.quantity + change, cost=cost)
            quantity = self.quantity + change
            if quantity * self.quantity <= 0:
                # Closed to the last unit, and the rest, if any, opened the other way.
                realised = self.realised + self.unrealised(fill.price)
                return LedgerPosition(quantity, quantity * fill.price, realised)
            share = self.cost * -change / self.quantity
            released = share.quantize(_COST_STEP)
            realised = self.realised - change * fill.price - released
            return LedgerPosition(quantity, self.cost - released, realised)


@dataclass(slots=True)
class Ledger:
    """Cash and positions of one account, built from its fills in order.

    Attributes
    ----------
    cash : Decimal
        Account currency; deposits less withdrawals and commission, plus sales less purchases.
    positions : dict of str to LedgerPosition
        Every instrument ever filled, flat ones included.
    deposits : Decimal
        Net cash put in, the opening balance included.
    commission : Decimal
        Total paid.
    other_income : Decimal
        Net of dividends, interest, borrow costs and the like; a cost is negative.
    """

    cash: Decimal = ZERO
    positions: dict[str, LedgerPosition] = field(default_factory=dict)
    deposits: Decimal = ZERO
    commission: Decimal = ZERO
    other_income: Decimal = ZERO

    @classmethod
    def of(cls, opening_cash: Decimal, fills: Iterable[LedgerFill] = ()) -> Ledger:
        """Return the ledger of an account that starts with cash and then fills.

        Parameters
        ----------
        opening_cash : Decimal
            Account currency.
        fills : iterable of LedgerFill
            In the order they happened.

        Returns
        -------
        Ledger
            A new ledger.
        """
        ledger = cls()
        ledger.deposit(opening_cash)
        for fill in fills:
            ledger.record(fill)
        return ledger

    def deposit(self, amount: Decimal) -> None:
        """Add cash from outside; a withdrawal is negative."""
        with localcontext(_PRECISION):
            self.cash += amount
            self.deposits += amount

    def receive(self, amount: Decimal) -> None:
        """Add a dividend or interest; a borrow cost or fee is negative."""
        with localcontext(_PRECISION):
            self.cash += amount
            self.other_income += amount

    def record(self, fill: LedgerFill) -> Decimal:
        """Apply a fill.

        Parameters
        ----------
        fill : LedgerFill
            Execution.

        Returns
        -------
        Decimal
            What it realised, before commission; a loss is negative, 0 if it only opened.
        """
        before = self.position(fill.symbol)
        after = before.after(fill)
        with localcontext(_PRECISION):
            self.cash -= fill.signed_quantity * fill.price + fill.commission
            self.commission += fill.commission
            self.positions[fill.symbol] = after
            return after.realised - before.realised

    def position(self, symbol: str) -> LedgerPosition:
        """Return the holding of an instrument, flat if it was never filled."""
        return self.positions.get(symbol, LedgerPosition())

    @property
    def realised(self) -> Decimal:
        """Realised profit and loss of all instruments, before commission."""
        with localcontext(_PRECISION):
            return sum((position.realised for position in self.positions.values()), ZERO)

    def position_value(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return the market value of all open positions, short ones negative.

        Parameters
        ----------
        prices : mapping of str to Decimal
            Price of every instrument held; flat ones need none.

        Returns
        -------
        Decimal
            Account currency.

        Raises
        ------
        ValueError
            If an instrument that is held has no price.
        """
        with localcontext(_PRECISION):
            return sum(
                (
                    position.value(_price_of(symbol, prices))
                    for symbol, position in self._open_positions()
                ),
                ZERO,
            )

    def unrealised(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return the profit and loss of closing everything at `prices`, before commission.

        Parameters
        ----------
        prices : mapping of str to Decimal
            Price of every instrument held.

        Returns
        -------
        Decimal
            Account currency; a loss is negative.

        Raises
        ------
        ValueError
            If an instrument that is held has no price.
        """
        with localcontext(_PRECISION):
            return sum(
                (
                    position.unrealised(_price_of(symbol, prices))
                    for symbol, position in self._open_positions()
                ),
                ZERO,
            )

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return the account value: cash plus the value of all positions.

        Parameters
        ----------
        prices : mapping of str to Decimal
            Price of every instrument held.

        Returns
        -------
        Decimal
            Account currency.

        Raises
        ------
        ValueError
            If an instrument that is held has no price.
        """
        with localcontext(_PRECISION):
            return self.cash + self.position_value(prices)

    def _open_positions(self) -> list[tuple[str, LedgerPosition]]:
        return [(s, position) for s, position in self.positions.items() if position.quantity != 0]


def _price_of(symbol: str, prices: Mapping[str, Decimal]) -> Decimal:
    try:
        return prices[symbol]
    except KeyError:
        raise ValueError(f"no price for {symbol}, which is held") from None
