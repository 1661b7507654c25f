"""What each instrument brought a portfolio, over the same period and stays as by strategy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from alphastrat.core.money import MONEY_PLACES, PRICE_PLACES, to_decimal
from alphastrat.marketdata.live_market import live_series
from portfolio.services.account_marks import AccountMarks, moment
from portfolio.services.memberships import Membership
from portfolio.services.portfolio_performance import ZERO, Performance, Period

_HELD = """
    SELECT p.account_id, i.id, i.symbol, s.timeframe, p.quantity,
        coalesce(p.mark_price * p.quantity, p.cost), p.cost, p.realised, p.commission
    FROM portfolio_position p
    JOIN portfolio_account a ON a.id = p.account_id
    JOIN strategies s ON s.id = a.strategy_id
    JOIN marketdata_instrument i ON i.id = p.instrument_id
    WHERE p.account_id = ANY(%s)
"""
_TRADED = """
    SELECT asked.account_id, asked.at, f.instrument_id,
        sum(CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END),
        sum(CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END * f.price),
        sum(f.commission)
    FROM unnest(%s::uuid[], %s::timestamptz[]) AS asked (account_id, at)
    JOIN portfolio_fill f ON f.account_id = asked.account_id AND f.filled_at > asked.at
    WHERE NOT f.is_cancelled
        AND NOT EXISTS (SELECT 1 FROM portfolio_fill later WHERE later.corrects_id = f.id)
    GROUP BY 1, 2, 3
"""
_PRICES = """
    SELECT asked.account_id, asked.at, asked.instrument_id, b.close, f.price
    FROM unnest(%s::uuid[], %s::timestamptz[], %s::uuid[], %s::uuid[])
        AS asked (account_id, at, instrument_id, series_id)
    LEFT JOIN LATERAL (
        SELECT close FROM marketdata_bar
        WHERE series_id = asked.series_id AND opened_at < asked.at AND closed_at <= asked.at
        ORDER BY opened_at DESC LIMIT 1
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT price FROM portfolio_fill f
        WHERE f.account_id = asked.account_id AND f.instrument_id = asked.instrument_id
            AND f.filled_at <= asked.at AND NOT f.is_cancelled
            AND NOT EXISTS (SELECT 1 FROM portfolio_fill later WHERE later.corrects_id = f.id)
        ORDER BY f.filled_at DESC, f.execution_id DESC LIMIT 1
    ) f ON b.close IS NULL
"""
CENT = Decimal("0.01")
# A mark of an account; None stands for its opening.
Mark = tuple[UUID, datetime | None]


@dataclass(frozen=True, slots=True)
class InstrumentResult:
    """What a portfolio made with one instrument in a period.

    Attributes
    ----------
    symbol : str
        Empty for what belongs to no instrument: dividends, interest, borrow costs, reported
        equity that fills do not explain, and fills that no mark has seen yet.
    pnl, commission : Decimal
        Result after costs, and commission paid (positive), account currency.
    value : Decimal
        What the members hold of it now, negative if short.
    """

    symbol: str
    pnl: Decimal
    commission: Decimal
    value: Decimal


@dataclass(frozen=True, slots=True)
class _Holding:
    """An account's position now, and what it made since the account was opened."""

    instrument_id: UUID
    symbol: str
    timeframe: str
    quantity: Decimal
    marked: Decimal
    cost: Decimal
    realised: Decimal
    commission: Decimal

    @property
    def value(self) -> Decimal:
        return self.marked if self.quantity else ZERO

    @property
    def pnl(self) -> Decimal:
        unrealised = self.marked - self.cost if self.quantity else ZERO
        return self.realised + unrealised - self.commission


@dataclass(frozen=True, slots=True)
class _Traded:
    """What was bought net after a mark, what that cost, and the commission of it."""

    quantity: Decimal = ZERO
    paid: Decimal = ZERO
    commission: Decimal = ZERO


NOTHING = _Traded()


@dataclass(slots=True)
class _Books:
    """Positions now, and what happened after each mark that a stay begins or ends at."""

    held: dict[UUID, list[_Holding]] = field(default_factory=lambda: defaultdict(list))
    traded: dict[tuple[Mark, UUID], _Traded] = field(default_factory=dict)
    prices: dict[tuple[Mark, UUID], Decimal] = field(default_factory=dict)

    def after(self, mark: Mark, one: _Holding) -> _Traded:
        return self.traded.get((mark, one.instrument_id), NOTHING)

    def since(self, mark: Mark, one: _Holding) -> tuple[Decimal, Decimal]:
        """Return the result and the commission of a holding from a mark until now."""
        if mark[1] is None:
            return one.pnl, one.commission
        after = self.after(mark, one)
        worth = ZERO
        if held := one.quantity - after.quantity:
            worth = held * self.prices[mark, one.instrument_id]
        return one.value - worth - after.paid - after.commission, after.commission


def by_instrument(performance: Performance, period: Period) -> list[InstrumentResult]:
    r"""Return what each instrument brought in a period, best first.

    It takes one query since the beginning, otherwise three and those of the series.

    From a mark of an account to a later one, with the positions :math:`q` and prices :math:`P` of
    both, and the fills in between (:math:`n` bought, negative for sold, at :math:`p`, commission
    :math:`c`):

    .. math:: q_1 P_1 - q_0 P_0 - \sum_k (n_k p_k + c_k)

    The lines add up to what the strategies brought; the last one is what no instrument explains.
    """
    asked = performance.stays_in(period)
    ends = [(one, _mark(performance, one, since), _end(performance, one)) for one, since in asked]
    books = _books([one for _, *marks in ends for one in marks if one is not None])
    results: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO, ZERO])
    for member, first, last in ends:
        for one in books.held.get(member.account_id, ()):
            sums = results[one.symbol]
            pnl, commission = books.since(first, one)
            if last is None:
                sums[2] += one.value
            else:
                after = books.since(last, one)
                pnl, commission = pnl - after[0], commission - after[1]
            sums[0] += pnl
            sums[1] += commission
    return _lines(results, total=performance.pnl(period))


def _lines(results: Mapping[str, Sequence[Decimal]], *, total: Decimal) -> list[InstrumentResult]:
    lines = [
        InstrumentResult(symbol, *(to_decimal(one, MONEY_PLACES) for one in sums))
        for symbol, sums in results.items()
        if any(sums)
    ]
    lines.sort(key=lambda one: (-one.pnl, one.symbol))
    rest = total - sum((one.pnl for one in lines), ZERO)
    # Amounts of marks are rounded: less than a cent is nothing.
    return [*lines, InstrumentResult("", rest, ZERO, ZERO)] if abs(rest) >= CENT else lines


def _mark(performance: Performance, member: Membership, at: datetime) -> Mark:
    """Return the newest mark of an account until a time."""
    marks: AccountMarks | None = performance.marks.get(member.account_id)
    n = 0 if marks is None else marks.before(at)
    return member.account_id, None if marks is None or not n else moment(marks.closed[n - 1])


def _end(performance: Performance, member: Membership) -> Mark | None:
    return None if member.until is None else _mark(performance, member, member.until)


def _books(marks: Iterable[Mark]) -> _Books:
    wanted = set(marks)
    books = _Books()
    for account, *row in _rows(_HELD, [list({account for account, _ in wanted})]):
        books.held[account].append(_Holding(*row))
    dated = sorted((one for one in wanted if one[1] is not None), key=str)
    if not dated:
        return books
    accounts, times = zip(*dated, strict=True)
    for account, at, instrument, *sums in _rows(_TRADED, [list(accounts), list(times)]):
        books.traded[(account, at), instrument] = _Traded(*sums)
    needed = [
        (mark, one)
        for mark in dated
        for one in books.held.get(mark[0], ())
        if one.quantity != books.after(mark, one).quantity
    ]
    books.prices = _prices(needed)
    return books


def _prices(needed: Sequence[tuple[Mark, _Holding]]) -> dict[tuple[Mark, UUID], Decimal]:
    """Return what accounts marked positions at: the newest close, or else the newest fill."""
    if not needed:
        return {}
    symbols: dict[str, set[str]] = defaultdict(set)
    for _, one in needed:
        symbols[one.timeframe].add(one.symbol)
    series = {timeframe: live_series(names, timeframe) for timeframe, names in symbols.items()}
    followed = [series[one.timeframe].get(one.symbol) for _, one in needed]
    columns = [
        [account for (account, _), _ in needed],
        [at for (_, at), _ in needed],
        [one.instrument_id for _, one in needed],
        [None if one is None else one.pk for one in followed],
    ]
    return {
        ((account, at), instrument): paid if close is None else to_decimal(close, PRICE_PLACES)
        for account, at, instrument, close, paid in _rows(_PRICES, columns)
    }


def _rows(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
