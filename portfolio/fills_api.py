"""JSON API of accounts: what happened in them, sent from outside or read."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Field, File, Form, Header, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import SecretStr

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.pagination import paged
from portfolio.brokers.alpaca import connected
from portfolio.models import (
    Account,
    BrokerDifference,
    BrokerName,
    EquityPoint,
    Fill,
    FillSource,
    Order,
    OrderStatus,
    Position,
)
from portfolio.services import (
    accounting,
    accounts,
    broker_keys,
    fill_imports,
    reconciliation,
)
from portfolio.services.fill_checks import EquityIn, FillIn
from portfolio.services.fill_formats import FLEX_ZONE, MAX_BYTES, parse_fills
from strategies.models import Strategy

MAX_BATCH = 1_000

router = Router(tags=["trading"])
accounts_router = Router(tags=["trading"])


class AccountOut(Schema):
    """An account: its ledger now. `opened_at` and `marked_to` are in market time."""

    id: UUID
    strategy_id: UUID
    broker: BrokerName
    reference: str
    currency: str
    opening_cash: float
    cash: float
    deposits: float
    other_income: float
    equity: float
    total_return: float | None
    costs: dict[str, Any]
    opened_at: datetime
    closed_at: datetime | None
    marked_to: datetime | None
    reports_equity: bool


class AccountIn(Schema):
    """An account somewhere else: `external` (fills are sent here) or `alpaca`.

    An account at Alpaca may have a key of its own, which is stored encrypted and never shown.
    """

    broker: BrokerName
    capital: Decimal = Decimal(100_000)
    reference: str = Field("", max_length=60)
    key_id: str = Field("", max_length=100)
    secret: SecretStr = Field(SecretStr(""), max_length=200)


class BrokerKeyIn(Schema):
    """Another key of the same account at the broker."""

    key_id: str = Field(..., max_length=100)
    secret: SecretStr = Field(..., max_length=200)


class PositionOut(Schema):
    symbol: str = Field(..., alias="instrument.symbol")
    quantity: float
    average_price: float | None
    mark_price: float | None
    marked_at: datetime | None
    value: float | None
    unrealised: float | None
    realised: float
    commission: float
    entered_at: datetime | None
    protection: dict[str, Any]


class OrderOut(Schema):
    id: UUID
    client_order_id: str
    broker_order_id: str
    symbol: str = Field(..., alias="instrument.symbol")
    side: str
    quantity: float | None
    expected_quantity: float | None
    reason: str
    status: str
    reference_price: float | None
    decided_at: datetime
    submitted_at: datetime | None
    ended_at: datetime | None
    denials: list[dict[str, Any]]
    note: str


class FillOut(Schema):
    id: UUID
    source: str
    execution_id: str
    order_id: UUID | None
    symbol: str = Field(..., alias="instrument.symbol")
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    reference_price: Decimal | None
    filled_at: datetime
    recorded_at: datetime
    corrects_id: UUID | None
    is_cancelled: bool


class AccountEquityOut(Schema):
    marked_at: datetime
    equity: float
    cash: float
    position_value: float
    realised: float
    unrealised: float
    commission: float
    net_flow: float
    bar_return: float | None
    gross_exposure: float
    is_reported: bool


class FillRowIn(Schema):
    """One execution. `corrects` names the execution that this one replaces."""

    symbol: str = Field(..., max_length=40)
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal = Decimal(0)
    filled_at: datetime
    execution_id: str = Field("", max_length=120)
    corrects: str = Field("", max_length=120)
    is_cancelled: bool = False
    client_order_id: str = Field("", max_length=120)

    def to_fill(self, *, key: str = "") -> FillIn:
        values = self.model_dump()
        return FillIn(**{**values, "execution_id": self.execution_id or key})


class FillsIn(Schema):
    """Several executions; with `all_or_nothing` a refused row keeps the others out too."""

    fills: list[FillRowIn] = Field(..., min_length=1, max_length=MAX_BATCH)
    all_or_nothing: bool = False


class EquityRowIn(Schema):
    """What the account was worth; `net_flow` is capital that came in since the point before."""

    marked_at: datetime
    equity: Decimal
    cash: Decimal | None = None
    net_flow: Decimal = Decimal(0)


class EquitiesIn(Schema):
    points: list[EquityRowIn] = Field(..., min_length=1, max_length=MAX_BATCH)


class RowOut(Schema):
    """What became of a row: recorded, known or refused, with the field and the reason."""

    row: int
    key: str
    status: str
    message: str
    column: str


class RecordedOut(Schema):
    n_recorded: int
    n_known: int
    n_refused: int
    rows: list[RowOut]


class ImportTerms(Schema):
    """Whether to look only, and the zone of times that have none (Flex queries)."""

    preview: bool = False
    zone: str = FLEX_ZONE


class OrderFilter(Schema):
    status: OrderStatus | None = None


class FillFilter(Schema):
    symbol: str | None = None
    source: FillSource | None = None


class DifferenceOut(Schema):
    """Where the broker's books and ours do not agree."""

    id: UUID
    kind: str
    subject: str
    ours: str
    theirs: str
    found_at: datetime
    seen_at: datetime
    resolution: str
    resolved_at: datetime | None
    note: str


class ReasonIn(Schema):
    reason: str = Field(..., min_length=3, max_length=300)


RECORDED: dict[int, Any] = {200: RecordedOut, 201: RecordedOut, 422: RecordedOut}


@router.post("/{uuid:strategy_id}/account", response={201: AccountOut}, url_name="open_account")
def open_account(request: HttpRequest, strategy_id: UUID, wanted: AccountIn) -> Status[Account]:
    """Trade a strategy in an account somewhere else from now on; a paper account is closed."""
    if wanted.broker == BrokerName.PAPER:
        raise InvalidInput(
            "A paper account opens by itself when a strategy is moved to paper.",
            fields={"broker": "Choose external or alpaca."},
        )
    account = accounts.switch_broker(
        _strategy(request, strategy_id),
        wanted.broker,
        capital=wanted.capital,
        reference=wanted.reference,
        connection=connected(
            wanted.broker, broker_keys.pair(wanted.key_id, wanted.secret.get_secret_value())
        ),
        at=now(),
    )
    return Status(201, account)


@router.post("/{uuid:strategy_id}/fills", response=RECORDED, url_name="record_fills")
def record_fills(
    request: HttpRequest,
    strategy_id: UUID,
    sent: FillsIn | FillRowIn,
    idempotency_key: Header[str] = "",
) -> Status[dict[str, Any]]:
    """Record one execution or up to 1,000 of them; a repeated delivery adds nothing.

    `execution_id` is the key of a row; one execution may bring it as `Idempotency-Key` instead.
    """
    account = _open_account(request, strategy_id)
    if isinstance(sent, FillRowIn):
        fills, whole = [sent.to_fill(key=idempotency_key)], False
    else:
        fills, whole = [row.to_fill() for row in sent.fills], sent.all_or_nothing
    recorded = accounting.record_fills(
        account, fills, source=FillSource.API, at=now(), all_or_nothing=whole
    )
    return _answer(recorded)


@router.get("/{uuid:strategy_id}/fills", response=list[FillOut], url_name="list_fills")
@paged
def list_fills(request: HttpRequest, strategy_id: UUID, wanted: Query[FillFilter]) -> Any:
    """List the executions of a strategy's accounts, newest first; corrected ones included."""
    found = Fill.objects.filter(account__strategy=_strategy(request, strategy_id))
    if wanted.symbol:
        found = found.filter(instrument__symbol=wanted.symbol)
    if wanted.source:
        found = found.filter(source=wanted.source)
    return found.select_related("instrument").order_by("-filled_at", "-execution_id")


@router.post("/{uuid:strategy_id}/fills/import", response=RECORDED, url_name="import_fills")
def import_fills(
    request: HttpRequest, strategy_id: UUID, terms: Form[ImportTerms], file: File[UploadedFile]
) -> Status[dict[str, Any]]:
    """Import a CSV, Alpaca activities, an IBKR Flex query or freqtrade trades."""
    account = _open_account(request, strategy_id)
    content = file.read(MAX_BYTES + 1)
    parsed = parse_fills(content, file_name=file.name or "file", zone=terms.zone)
    carry_out = fill_imports.preview_fills if terms.preview else fill_imports.import_fills
    return _imported(carry_out(account, parsed, at=now()), preview=terms.preview)


@router.post("/{uuid:strategy_id}/equity", response=RECORDED, url_name="record_equity")
def record_equity(
    request: HttpRequest, strategy_id: UUID, sent: EquitiesIn | EquityRowIn
) -> Status[dict[str, Any]]:
    """Record what the account was worth, once or up to 1,000 times; repeats add nothing."""
    rows = [sent] if isinstance(sent, EquityRowIn) else sent.points
    points = [EquityIn(**row.model_dump()) for row in rows]
    account = _open_account(request, strategy_id)
    return _answer(accounting.record_equity(account, points, source="api", at=now()))


@router.get("/{uuid:strategy_id}/equity", response=list[AccountEquityOut], url_name="list_equity")
@paged
def list_equity(request: HttpRequest, strategy_id: UUID) -> Any:
    """List what a strategy's accounts were worth at each close, newest first."""
    found = EquityPoint.objects.filter(account__strategy=_strategy(request, strategy_id))
    return found.order_by("-marked_at")


@router.get("/{uuid:strategy_id}/orders", response=list[OrderOut], url_name="list_orders")
@paged
def list_orders(request: HttpRequest, strategy_id: UUID, wanted: Query[OrderFilter]) -> Any:
    """List a strategy's orders, newest first, with the reasons of those that were denied."""
    found = Order.objects.filter(account__strategy=_strategy(request, strategy_id))
    if wanted.status:
        found = found.filter(status=wanted.status)
    return found.select_related("instrument")


@router.get("/{uuid:strategy_id}/positions", response=list[PositionOut], url_name="list_positions")
@paged
def list_positions(request: HttpRequest, strategy_id: UUID) -> Any:
    """List what a strategy holds now."""
    found = Position.objects.held().filter(
        account__strategy=_strategy(request, strategy_id), account__closed_at__isnull=True
    )
    return found.select_related("instrument")


@accounts_router.get("", response=list[AccountOut], url_name="list_accounts")
@paged
def list_accounts(request: HttpRequest) -> Any:
    """List your accounts, the newest last; administrators and viewers see everyone's."""
    return Account.objects.for_user(request.user)


@accounts_router.get("/{uuid:account_id}", response=AccountOut, url_name="get_account")
def get_account(request: HttpRequest, account_id: UUID) -> Account:
    """Show an account."""
    return _account(request, account_id)


@accounts_router.put("/{uuid:account_id}/key", response=AccountOut, url_name="set_account_key")
def set_account_key(request: HttpRequest, account_id: UUID, given: BrokerKeyIn) -> Account:
    """Reach an account with another key; it is tried first, stored encrypted and never shown."""
    account = _account(request, account_id)
    if account.broker != BrokerName.ALPACA:
        raise ConflictError("Only an account at Alpaca is reached with a key.")
    key = broker_keys.pair(given.key_id, given.secret.get_secret_value())
    broker_keys.replace(account, connected(account.broker, key), at=now())
    return account


@accounts_router.get(
    "/{uuid:account_id}/differences", response=list[DifferenceOut], url_name="list_differences"
)
@paged
def list_differences(request: HttpRequest, account_id: UUID) -> Any:
    """List where the broker's books and ours did not agree, newest first."""
    return BrokerDifference.objects.filter(account=_account(request, account_id))


@accounts_router.post(
    "/{uuid:account_id}/reconcile", response=list[DifferenceOut], url_name="reconcile_account"
)
def reconcile_account(request: HttpRequest, account_id: UUID) -> Any:
    """Compare the account with its broker now; answers what is open."""
    reconciliation.reconcile(_account(request, account_id), at=now())
    return BrokerDifference.objects.filter(account_id=account_id, resolution="open")


@accounts_router.post(
    "/{uuid:account_id}/differences/{uuid:difference_id}/accept",
    response=DifferenceOut,
    url_name="accept_difference",
)
def accept_difference(
    request: HttpRequest, account_id: UUID, difference_id: UUID, said: ReasonIn
) -> BrokerDifference:
    """Accept a difference with a reason: it is known and not to be asked about again."""
    row = get_object_or_404(
        BrokerDifference, pk=difference_id, account=_account(request, account_id)
    )
    return reconciliation.accept(row, by=request.user, reason=said.reason, at=now())


def _strategy(request: HttpRequest, strategy_id: UUID) -> Strategy:
    return get_object_or_404(Strategy.objects.for_user(request.user), pk=strategy_id)


def _account(request: HttpRequest, account_id: UUID) -> Account:
    return get_object_or_404(Account.objects.for_user(request.user), pk=account_id)


def _open_account(request: HttpRequest, strategy_id: UUID) -> Account:
    strategy = _strategy(request, strategy_id)
    account = Account.objects.open().filter(strategy=strategy).first()
    if account is None:
        raise ConflictError(
            f"{strategy.name} has no open account; open one with POST …/account first."
        )
    return account


def _answer(recorded: accounting.Recorded) -> Status[dict[str, Any]]:
    body = {
        "n_recorded": recorded.n_recorded,
        "n_known": recorded.count("known"),
        "n_refused": len(recorded.refused),
        "rows": recorded.rows,
    }
    return Status(_code(body), body)


def _imported(result: fill_imports.ImportResult, *, preview: bool) -> Status[dict[str, Any]]:
    rows = [
        {
            "row": row.number,
            "key": "" if row.fill is None else row.fill.execution_id,
            "status": row.status,
            "message": row.message,
            "column": row.column,
        }
        for row in result.rows
    ]
    body = {
        "n_recorded": result.n_recorded,
        "n_known": result.n_known,
        "n_refused": result.n_refused,
        "rows": rows,
    }
    return Status(200 if preview else _code(body), body)


def _code(body: dict[str, Any]) -> int:
    if body["n_recorded"]:
        return 201
    return 422 if body["n_refused"] else 200
