"""Accounts through their life: opened with a strategy's first trading day, funded, closed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from alphastrat.core import events, live
from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.money import MONEY_PLACES, to_decimal
from alphastrat.core.notify import notify
from alphastrat.marketdata.live_market import market_time
from portfolio.models import Account, BrokerName, CashMovement
from portfolio.models.account import CAPITAL_MOVEMENTS, MovementKind
from portfolio.services import broker_keys
from portfolio.services.accounting import remark
from portfolio.services.broker_keys import Connection
from strategies.models import BacktestRun, Strategy
from strategies.services.configuration import check_costs

DEFAULT_CAPITAL = Decimal(100_000)
DEFAULT_COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0, "borrow_bps_per_year": 50.0}
TAKEN = "Another strategy trades in this Alpaca account already; give this one a key of its own."
MAX_CAPITAL = Decimal("1e12")


@transaction.atomic
def open_account(
    strategy: Strategy,
    *,
    broker: str = BrokerName.PAPER,
    capital: Decimal = DEFAULT_CAPITAL,
    costs: Mapping[str, Any] | None = None,
    at: datetime,
    reference: str = "",
    connection: Connection | None = None,
) -> Account:
    """Open the account that a strategy trades in from `at` on, in market time.

    Raises InvalidInput for capital or costs that cannot be, ConflictError if it has one open or
    another strategy trades in the account at the broker.
    """
    if not 0 <= capital <= MAX_CAPITAL:
        raise InvalidInput(
            "The capital is out of range.",
            fields={"capital": "Choose an amount from 0 to 1,000,000,000,000."},
        )
    if broker == BrokerName.ALPACA:
        reference = _theirs(connection) or reference
        _check_alone(connection, reference)
    terms = dict(costs_of(strategy) if costs is None else costs)
    check_costs(terms)
    capital = to_decimal(capital, MONEY_PLACES)
    try:
        with transaction.atomic():
            account = Account.objects.create(
                strategy=strategy,
                broker=broker,
                reference=reference,
                currency=currency_of(strategy),
                opening_cash=capital,
                cash=capital,
                deposits=capital,
                equity=capital,
                costs=terms,
                opened_at=at,
                marked_to=at,
                decided_to=at,
            )
    except IntegrityError as error:
        if "one_per_broker_account" in str(error):
            raise ConflictError(TAKEN) from None
        raise ConflictError(f"{strategy.name} has an open account already.") from None
    if connection is not None and connection.key is not None:
        broker_keys.store(account, connection.key, at=at)
    live.publish(f"strategy:{strategy.pk}", "invalidate", {"fragment": "strategy"})
    notify("monitor", f"account:{account.pk}")
    return account


def open_for_paper(strategy: Strategy, *, at: datetime) -> Account | None:
    """Open the paper account of a strategy that has been moved to paper; None if it has one."""
    if Account.objects.open().filter(strategy=strategy).exists():
        return None
    opened_at = market_time(strategy.timeframe, at=at)
    try:
        return open_account(strategy, at=opened_at)
    except ConflictError:
        return None


@transaction.atomic
def close_account(account: Account, *, at: datetime) -> None:
    """End an account; its history stays. Raises ConflictError while it holds positions."""
    account = Account.objects.select_for_update().get(pk=account.pk)
    if account.positions.held().exists():
        raise ConflictError("The account still holds positions; close them first.")
    account.closed_at = max(at, account.opened_at)
    account.save(update_fields=["closed_at", "updated_at"])
    live.publish(f"strategy:{account.strategy_id}", "invalidate", {"fragment": "strategy"})


@transaction.atomic
def switch_broker(
    strategy: Strategy,
    broker: str,
    *,
    capital: Decimal,
    reference: str = "",
    connection: Connection | None = None,
    at: datetime,
) -> Account:
    """Trade a strategy somewhere else from now on.

    A paper account is closed at its newest mark, with what it held; one with real positions must
    be flat first.
    """
    for account in Account.objects.open().filter(strategy=strategy).select_for_update():
        if account.broker == BrokerName.PAPER:
            account.closed_at = max(account.marked_to or at, account.opened_at)
            account.save(update_fields=["closed_at", "updated_at"])
        else:
            close_account(account, at=at)
    opened_at = market_time(strategy.timeframe, at=at)
    return open_account(
        strategy,
        broker=broker,
        capital=capital,
        at=opened_at,
        reference=reference,
        connection=connection,
    )


@transaction.atomic
def move_cash(
    account: Account,
    kind: str,
    amount: Decimal,
    *,
    moved_at: datetime,
    at: datetime,
    source: str,
    key: str,
) -> bool:
    """Record cash that came or, negative, left without a fill; False if it is known already.

    Raises InvalidInput if the amount cannot be, ConflictError if the key stands for another
    amount or if the account would owe cash that it does not have.
    """
    if kind not in MovementKind.values:
        known = ", ".join(MovementKind.values)
        raise InvalidInput("There is no such movement.", fields={"kind": f"Use one of {known}."})
    amount = to_decimal(amount, MONEY_PLACES)
    if not amount or abs(amount) > MAX_CAPITAL:
        raise InvalidInput(
            "The amount is out of range.", fields={"amount": "Choose an amount other than 0."}
        )
    account = Account.objects.select_for_update().get(pk=account.pk)
    known_row = CashMovement.objects.filter(account=account, source=source, execution_id=key)
    if (before := known_row.first()) is not None:
        if (before.kind, before.amount) != (kind, amount):
            raise ConflictError(f"Movement {key} is known with another amount.")
        return False
    if kind in CAPITAL_MOVEMENTS and amount < 0 and account.cash + amount < 0:
        raise ConflictError(
            f"The account has {account.cash:,.2f} in cash; {-amount:,.2f} cannot leave it."
        )
    CashMovement.objects.create(
        account=account,
        kind=kind,
        amount=amount,
        moved_at=moved_at,
        recorded_at=at,
        source=source,
        execution_id=key,
    )
    _book(account, kind, amount, moved_at=moved_at)
    return True


def _book(account: Account, kind: str, amount: Decimal, *, moved_at: datetime) -> None:
    account.cash += amount
    if kind in CAPITAL_MOVEMENTS:
        account.deposits += amount
    else:
        account.other_income += amount
    account.revision += 1
    account.save(update_fields=["cash", "deposits", "other_income", "revision", "updated_at"])
    if account.marked_to is not None and moved_at <= account.marked_to:
        remark(account, since=moved_at)
    notify("monitor", f"account:{account.pk}")
    events.send_on_commit(events.equity_marked, account_ids=[str(account.pk)])


def _theirs(connection: Connection | None) -> str:
    return "" if connection is None else connection.account_number


def _check_alone(connection: Connection | None, reference: str) -> None:
    """One account there is one strategy's: two could not tell their positions apart."""
    others = Account.objects.open().filter(broker=BrokerName.ALPACA)
    same_key = others.filter(broker_key__isnull=True)
    by_installation = connection is None or connection.key is None
    if others.filter(reference=reference).exists() or (by_installation and same_key.exists()):
        raise ConflictError(TAKEN)


def costs_of(strategy: Strategy) -> dict[str, Any]:
    """Return the costs of the newest finished backtest of the strategy's current version."""
    runs = BacktestRun.objects.filter(strategy_version=strategy.current_version).succeeded()
    newest = runs.order_by("-finished_at").values_list("costs", flat=True).first()
    return dict(DEFAULT_COSTS if newest is None else newest)


def currency_of(strategy: Strategy) -> str:
    """Return the currency of the strategy's instruments."""
    found = strategy.universe.order_by("symbol").values_list("currency", flat=True).first()
    return found or "USD"
