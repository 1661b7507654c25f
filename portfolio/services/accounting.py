"""What happened in an account, written down once and exactly, in whatever order it is heard of.

The rows of fills and movements are the truth; positions, cash and equity are derived from them.
A fill that comes late, or a correction of one, recomputes what follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max

from alphastrat.core import events, live
from alphastrat.core.errors import ConflictError
from alphastrat.core.money import MONEY_PLACES, PRICE_PLACES, to_decimal
from alphastrat.core.notify import notify
from alphastrat.marketdata.frames import load_close_series
from alphastrat.marketdata.live_market import live_series
from alphastrat.marketdata.models import Instrument
from alphastrat.quant.ledger import Ledger, LedgerFill, LedgerPosition
from alphastrat.quant.types import Side
from portfolio.models import Account, BrokerName, EquityPoint, Fill, Order, OrderStatus, Position
from portfolio.models.order import OPEN_STATUSES
from portfolio.services.fill_checks import EquityIn, FillIn, Known, RowResult, check_fill
from portfolio.services.ledgers import (
    Closes,
    bar_return,
    entries_of,
    equity_points,
    ledger_of,
    store_points,
)

# The smallest step of time that the database knows.
_INSTANT = timedelta(microseconds=1)

__all__ = ["EquityIn", "FillIn", "Recorded", "rebuild", "record_equity", "record_fills", "remark"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of each row of a delivery, in the order it was given."""

    rows: list[RowResult] = field(default_factory=list)

    def count(self, status: str) -> int:
        return sum(row.status == status for row in self.rows)

    @property
    def n_recorded(self) -> int:
        return self.count("recorded")

    @property
    def refused(self) -> list[RowResult]:
        return [row for row in self.rows if row.status == "refused"]


@transaction.atomic
def record_fills(
    account: Account,
    fills: Sequence[FillIn],
    *,
    source: str,
    at: datetime,
    all_or_nothing: bool = False,
) -> Recorded:
    """Record the executions of an account that are not known yet.

    Each row is recorded, known already, or refused with its reason; a repeated delivery adds
    nothing. With `all_or_nothing` one refused row keeps the others out. Raises ConflictError for
    a closed account, or one whose fills are simulated.
    """
    account = Account.objects.select_for_update().get(pk=account.pk)
    _check_account(account)
    known = Known.load(account, fills, source=source)
    rows: list[RowResult | None] = [None] * len(fills)
    made: list[Fill] = []
    # A correction may come in the same delivery as what it corrects.
    for row in sorted(range(len(fills)), key=lambda n: bool(fills[n].corrects)):
        result, fill = check_fill(fills[row], known, row=row, source=source, at=at)
        rows[row] = result
        if fill is not None:
            known.add(fill)
            made.append(fill)
    results = [row for row in rows if row is not None]
    if all_or_nothing and any(row.status == "refused" for row in results):
        return Recorded([_kept_out(row) for row in results])
    if made:
        _store(account, made, known)
    return Recorded(results)


@transaction.atomic
def record_equity(
    account: Account, points: Sequence[EquityIn], *, source: str, at: datetime
) -> Recorded:
    """Record what an account was worth, as someone else says.

    From then on its equity is what is reported, not what its fills come to.
    """
    account = Account.objects.select_for_update().get(pk=account.pk)
    _check_account(account)
    reported = EquityPoint.objects.filter(account=account, is_reported=True)
    stored = {point.marked_at: point for point in reported}
    rows, changed = [], False
    for number, point in enumerate(points):
        result = point.check(row=number, at=at)
        if result.status == "recorded":
            fresh = _reported(account, point)
            same = (before := stored.get(point.marked_at)) is not None and (
                before.equity,
                before.cash,
                before.net_flow,
            ) == (fresh.equity, fresh.cash, fresh.net_flow)
            result = RowResult(number, point.key, "known") if same else result
            changed = changed or not same
            stored[point.marked_at] = fresh
        rows.append(result)
    if changed:
        _store_reported(account, sorted(stored.values(), key=lambda one: one.marked_at))
    return Recorded(rows)


@transaction.atomic
def rebuild(account: Account, *, since: datetime | None = None) -> None:
    """Derive positions, cash and equity again from fills and movements.

    Equity points are written from `since` on; None means all of them.
    """
    account = Account.objects.select_for_update().get(pk=account.pk)
    entries = entries_of(account)
    ledger = ledger_of(account, entries)
    held = {str(one.instrument_id): one for one in account.positions.all()}
    for symbol, position in ledger.positions.items():
        row = held.get(symbol) or Position(account=account, instrument_id=UUID(symbol))
        row.commission = sum(
            (e.fill.commission for e in entries if e.fill and e.fill.symbol == symbol), Decimal(0)
        )
        _copy(position, row)
        row.save()
    for symbol in held.keys() - ledger.positions.keys():
        _copy(LedgerPosition(), held[symbol])
        held[symbol].commission = Decimal(0)
        held[symbol].save()
    account.cash, account.deposits = ledger.cash, ledger.deposits
    account.other_income = ledger.other_income
    account.revision += 1
    account.save(update_fields=["cash", "deposits", "other_income", "revision", "updated_at"])
    remark(account, since=since)


def remark(account: Account, *, since: datetime | None) -> None:
    """Mark the account again at every close from `since` on, in the surrounding transaction."""
    account.past_revision = account.revision
    changed = ["past_revision"]
    if not account.reports_equity:
        entries = entries_of(account)
        times, closes = _mark_times(account, {UUID(e.fill.symbol) for e in entries if e.fill})
        points = equity_points(account, entries, times=times, closes=closes)
        if points:
            store_points([one for one in points if since is None or one.marked_at >= since])
            account.equity = points[-1].equity
            changed.append("equity")
    account.save(update_fields=changed)


def tell(account_ids: Iterable[UUID], *, fills: bool) -> None:
    """Wake whoever follows these accounts, once this is committed."""
    ids = sorted(str(one) for one in account_ids)
    for one in ids:
        notify("monitor", f"account:{one}")
    if fills:
        events.send_on_commit(events.fill_recorded, account_ids=ids)
    events.send_on_commit(events.equity_marked, account_ids=ids)


def _kept_out(row: RowResult) -> RowResult:
    if row.status != "recorded":
        return row
    return replace(row, status="refused", message="Another row of this delivery was refused.")


def _check_account(account: Account) -> None:
    if account.closed_at is not None:
        raise ConflictError("This account is closed.")
    if account.broker == BrokerName.PAPER:
        raise ConflictError(
            "This account trades on paper: its fills are simulated. Connect an external account "
            "to send fills."
        )


def _store(account: Account, made: list[Fill], known: Known) -> None:
    made.sort(key=lambda fill: (fill.filled_at, fill.execution_id))
    newest = Fill.objects.filter(account=account).aggregate(at=Max("filled_at"))["at"]
    first = min(fill.filled_at for fill in made)
    corrected = [fill.corrects for fill in made if fill.corrects is not None]
    in_order = not corrected and (newest is None or first > newest)
    Fill.objects.bulk_create(made)
    _fill_orders([fill for fill in made if fill.order_id], known)
    since = min([first, *(one.filled_at for one in corrected)])
    if since <= account.opened_at:
        # What was traded before the account was known here belongs to it.
        account.opened_at = since - _INSTANT
        account.save(update_fields=["opened_at"])
    if in_order:
        _apply(account, made)
        if account.marked_to is not None and since <= account.marked_to:
            remark(account, since=since)
    else:
        rebuild(account, since=since)
    live.publish(f"strategy:{account.strategy_id}", "invalidate", {"fragment": "account"})
    tell([account.pk], fills=True)


def _apply(account: Account, made: Sequence[Fill]) -> None:
    """Add fills that come after all others to positions and cash."""
    held = {one.instrument_id: one for one in account.positions.all()}
    ledger = Ledger(
        cash=account.cash,
        positions={
            str(key): LedgerPosition(one.quantity, one.cost, one.realised)
            for key, one in held.items()
        },
    )
    for fill in made:
        row = held.setdefault(
            fill.instrument_id, Position(account=account, instrument=fill.instrument)
        )
        was_flat = not ledger.position(str(fill.instrument_id)).quantity
        ledger.record(ledger_fill(fill))
        row.commission += fill.commission
        if was_flat:
            row.entered_at = fill.filled_at
    for key in {fill.instrument_id for fill in made}:
        _copy(ledger.position(str(key)), held[key])
        held[key].save()
    account.cash = ledger.cash
    account.revision += 1
    account.save(update_fields=["cash", "revision", "updated_at"])


def ledger_fill(fill: Fill) -> LedgerFill:
    """Return a fill as the ledger takes it."""
    side = Side(fill.side)
    return LedgerFill(
        str(fill.instrument_id), side, fill.quantity, fill.price, Decimal(fill.commission)
    )


def _copy(position: LedgerPosition, row: Position) -> None:
    row.quantity, row.cost, row.realised = position.quantity, position.cost, position.realised
    if not position.quantity:
        row.entered_at = None


def _fill_orders(made: Sequence[Fill], known: Known) -> None:
    """Close the orders that these fills complete."""
    for order in {fill.order for fill in made if fill.order is not None}:
        counted = Fill.objects.filter(order=order).effective()
        filled = sum(counted.values_list("quantity", flat=True), Decimal(0))
        if order.quantity is None or filled >= order.quantity:
            last = max(fill.filled_at for fill in made if fill.order_id == order.pk)
            Order.objects.filter(pk=order.pk, status__in=OPEN_STATUSES).update(
                status=OrderStatus.FILLED, ended_at=last
            )


def _reported(account: Account, point: EquityIn) -> EquityPoint:
    equity = to_decimal(point.equity, MONEY_PLACES)
    cash = equity if point.cash is None else to_decimal(point.cash, MONEY_PLACES)
    return EquityPoint(
        account_id=account.pk,
        marked_at=point.marked_at,
        cash=cash,
        position_value=equity - cash,
        equity=equity,
        net_flow=to_decimal(point.net_flow, MONEY_PLACES),
        gross_exposure=float(abs(equity - cash) / equity) if equity > 0 else 0.0,
        is_reported=True,
    )


def _store_reported(account: Account, points: Sequence[EquityPoint]) -> None:
    before: Decimal | None = None
    for point in points:
        point.bar_return = bar_return(point.equity, before=before, flow=point.net_flow)
        before = point.equity
    EquityPoint.objects.filter(account=account, is_reported=False).delete()
    store_points(points)
    last = points[-1]
    Account.objects.filter(pk=account.pk).update(
        reports_equity=True,
        equity=last.equity,
        marked_to=last.marked_at,
        opened_at=min(account.opened_at, points[0].marked_at - _INSTANT),
        revision=F("revision") + 1,
        past_revision=F("revision") + 1,
    )
    live.publish(f"strategy:{account.strategy_id}", "invalidate", {"fragment": "account"})
    tell([account.pk], fills=False)


def _mark_times(account: Account, instruments: set[UUID]) -> tuple[list[datetime], Closes]:
    """Return the closes an account is marked at, and the prices there."""
    version = account.strategy.current_version
    symbols = set(version.symbols if version is not None else ())
    symbols |= set(Instrument.objects.filter(pk__in=instruments).values_list("symbol", flat=True))
    series = live_series(symbols, account.strategy.timeframe)
    found = load_close_series([one.pk for one in series.values()])
    closes, seen = Closes(), set()
    for one in series.values():
        rows = found[one.pk]
        times = [time.to_pydatetime() for time in rows.closed_at]
        closes.times[one.instrument_id] = times
        closes.prices[one.instrument_id] = [
            to_decimal(float(price), PRICE_PLACES) for price in rows.values
        ]
        seen.update(times)
    marked = EquityPoint.objects.filter(account=account)
    if account.broker == BrokerName.PAPER:
        return list(marked.order_by("marked_at").values_list("marked_at", flat=True)), closes
    until = account.marked_to
    inside = sorted(t for t in seen if until is not None and account.opened_at < t <= until)
    return inside, closes
