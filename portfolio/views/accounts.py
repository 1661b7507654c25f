"""The page of an account: what it is worth, holds, ordered and filled."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import F, Max
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alphastrat.core import exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from portfolio.account_charts import EquityChart
from portfolio.brokers import base
from portfolio.brokers.alpaca import connected
from portfolio.fill_forms import AccountForm, BrokerKeyForm
from portfolio.models import (
    Account,
    BrokerDifference,
    BrokerKey,
    BrokerName,
    EquityPoint,
    Fill,
    Order,
    Position,
    StrategyStanding,
)
from portfolio.risk_forms import switches
from portfolio.risk_tables import protection_words
from portfolio.services import accounts, broker_keys, reconciliation
from strategies.models import Strategy

ROWS_PER_PAGE = 50
N_ORDERS = 15

POSITION_COLUMNS = (
    Column("instrument.symbol", "Instrument", link="instrument.get_absolute_url"),
    Column("quantity", "Quantity", "price", options={"places": 4}),
    Column("average_price", "Average price", "price"),
    Column("mark_price", "Newest close", "price"),
    Column("value", "Value", "money"),
    Column("unrealised", "Unrealised", "signed_money"),
    Column("realised", "Realised", "signed_money"),
    Column("protection.stop", "Stop", "price"),
    Column("entered_at", "Since", "time"),
)
ORDER_COLUMNS = (
    Column("decided_at", "Decided", "time"),
    Column("instrument.symbol", "Instrument", link="instrument.get_absolute_url"),
    Column("side", "Side", "status"),
    Column("get_reason_display", "For"),
    Column("shown_quantity", "Quantity", "price", options={"places": 4}),
    Column("reference_price", "Close", "price"),
    Column("status", "Status", "status"),
    Column("why", "Why"),
)
FILL_COLUMNS = (
    Column("filled_at", "Filled", "time"),
    Column("instrument.symbol", "Instrument", link="instrument.get_absolute_url"),
    Column("side", "Side", "status"),
    Column("quantity", "Quantity", "price", options={"places": 4}),
    Column("price", "Price", "price"),
    Column("slippage_bps", "Slippage", "basis_points"),
    Column("commission", "Commission", "money"),
    Column("get_source_display", "Source"),
    Column("standing", "Counts"),
)
FILL_EXPORTS = (
    Column("filled_at", "filled_at"),
    Column("instrument.symbol", "symbol"),
    Column("side", "side"),
    Column("quantity", "quantity"),
    Column("price", "price"),
    Column("commission", "commission"),
    Column("reference_price", "reference_price"),
    Column("source", "source"),
    Column("execution_id", "execution_id"),
    Column("order.client_order_id", "client_order_id"),
    Column("corrects.execution_id", "corrects"),
    Column("is_cancelled", "is_cancelled"),
    Column("recorded_at", "recorded_at"),
)
ORDER_EXPORTS = (
    Column("decided_at", "decided_at"),
    Column("instrument.symbol", "symbol"),
    Column("side", "side"),
    Column("reason", "reason"),
    Column("quantity", "quantity"),
    Column("expected_quantity", "expected_quantity"),
    Column("reference_price", "reference_price"),
    Column("status", "status"),
    Column("client_order_id", "client_order_id"),
    Column("broker_order_id", "broker_order_id"),
    Column("submitted_at", "submitted_at"),
    Column("ended_at", "ended_at"),
    Column("denials", "denials"),
    Column("note", "note"),
)
EQUITY_EXPORTS = tuple(Column(name, name) for name in EquityChart.COLUMNS)
POSITION_EXPORTS = tuple(
    Column(column.key, column.key.replace("instrument.", "").replace("protection.", ""))
    for column in POSITION_COLUMNS
)
DIFFERENCE_COLUMNS = (
    Column("found_at", "Found", "time"),
    Column("get_kind_display", "What"),
    Column("subject", "Of"),
    Column("ours", "Here"),
    Column("theirs", "At the broker"),
    Column("resolution", "State", "status"),
    Column("note", "Note"),
)


@login_required
@require_GET
def account_detail(request: PageRequest, account_id: UUID) -> HttpResponseBase:
    """Show an account; `?table=…&format=…` exports one of its tables."""
    account = _account(request, account_id)
    if "format" in request.GET:
        return _export(request, account)
    topic = f"strategy:{account.strategy_id}"
    heads = live.heads(topic)
    point = EquityPoint.objects.filter(account=account).order_by("-marked_at").first()
    orders = Order.objects.filter(account=account).select_related("instrument")
    standing = StrategyStanding.objects.filter(strategy=account.strategy_id).first()
    keeps_books = isinstance(base.broker(account.broker), base.BookKeeper)
    context: dict[str, Any] = {
        "account": account,
        "point": point,
        "pnl": account.equity - account.deposits,
        "drawdown": _drawdown(account),
        "positions": _positions(account),
        "position_columns": POSITION_COLUMNS,
        "orders": [_shown_order(order) for order in orders[:N_ORDERS]],
        "order_columns": ORDER_COLUMNS,
        "fills": _fill_page(request, account),
        "fill_columns": FILL_COLUMNS,
        "chart": EquityChart.load(account),
        "others": Account.objects.filter(strategy=account.strategy).exclude(pk=account.pk),
        "differences": BrokerDifference.objects.filter(account=account)[:20] if keeps_books else (),
        "difference_columns": DIFFERENCE_COLUMNS,
        "keeps_books": keeps_books,
        "can_write": request.user.has_role(Role.TRADER),
        "standing": standing,
        "trading_detail": "" if standing is None else _trading_words(standing),
        "broker_key": BrokerKey.objects.filter(account=account).first() if keeps_books else None,
        "at_broker": account.broker == BrokerName.ALPACA,
        "heads": heads,
        "topic": topic,
        **switches(),
    }
    return render_page(request, "portfolio/account_detail.html", "portfolio/_account.html", context)


@login_required
@require_GET
def account_fills(request: PageRequest, account_id: UUID) -> HttpResponse:
    """Answer the page of fills alone."""
    account = _account(request, account_id)
    context = {
        "account": account,
        "fills": _fill_page(request, account),
        "fill_columns": FILL_COLUMNS,
        "topic": f"strategy:{account.strategy_id}",
    }
    return render_page(
        request, "portfolio/account_fills.html", "portfolio/_account_fills.html", context
    )


@login_required
@require_GET
def account_chart(request: PageRequest, account_id: UUID) -> HttpResponseBase:
    """Answer the equity figure, or its numbers with `?format=csv`."""
    account = _account(request, account_id)
    chart = EquityChart.load(account)
    if form := request.GET.get("format"):
        rows = [dict(zip(EquityChart.COLUMNS, row, strict=True)) for row in chart.points]
        return exports.table_response(rows, EQUITY_EXPORTS, name="equity", form=form)
    return figure_response(chart.draw())


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def account_new(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Connect a strategy to an account somewhere else."""
    strategy = get_object_or_404(Strategy.objects.for_user(request.user), pk=strategy_id)
    form = AccountForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        status = 200 if request.method == "GET" else 422
        context = {"form": form, "strategy": strategy}
        return render(request, "portfolio/account_new.html", context, status=status)
    broker = form.cleaned_data["broker"]
    try:
        account = accounts.switch_broker(
            strategy,
            broker,
            capital=form.cleaned_data["capital"],
            reference=form.cleaned_data["reference"],
            connection=connected(broker, form.cleaned_data["key"]),
            at=now(),
        )
    except AlphaStratError as error:
        form.add_error(None, str(error))
        context = {"form": form, "strategy": strategy}
        return render(request, "portfolio/account_new.html", context, status=error.status)
    messages.success(request, "The account is open. Send or import its fills.")
    return redirect(account)


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def account_key(request: PageRequest, account_id: UUID) -> HttpResponse:
    """Give an account another key of the same account at its broker."""
    account = _account(request, account_id)
    if account.broker != BrokerName.ALPACA or account.closed_at is not None:
        raise Http404
    form, status = BrokerKeyForm(request.POST or None), 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                connection = connected(account.broker, form.cleaned_data["key"])
                broker_keys.replace(account, connection, at=now())
            except AlphaStratError as error:
                form.add_error(None, str(error))
                status = error.status
            else:
                messages.success(request, "The account is reached with the new key.")
                return redirect(account)
    context = {"form": form, "account": account}
    return render(request, "portfolio/account_key.html", context, status=status)


@login_required
@require_GET
def strategy_account(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Lead to the account that a strategy trades in, or traded in last."""
    found = Account.objects.for_user(request.user).filter(strategy=strategy_id)
    account = found.order_by(F("closed_at").desc(nulls_first=True), "-opened_at").first()
    if account is None:
        raise Http404
    return redirect(account)


@role_required(Role.TRADER)
@require_POST
def account_reconcile(request: PageRequest, account_id: UUID) -> HttpResponse:
    """Compare an account with its broker's books now."""
    account = _account(request, account_id)
    try:
        found = reconciliation.reconcile(account, at=now())
    except AlphaStratError as error:
        messages.error(request, str(error))
    else:
        text = f"{found.n_open} open" if found.n_open else "Both books agree"
        messages.success(request, f"Compared: {found.n_fills} fills fetched. {text}.")
    return redirect(account)


@role_required(Role.TRADER)
@require_POST
def difference_accept(request: PageRequest, account_id: UUID, difference_id: UUID) -> HttpResponse:
    """Accept a difference with a reason."""
    account = _account(request, account_id)
    row = get_object_or_404(BrokerDifference, pk=difference_id, account=account)
    reason = request.POST.get("reason", "").strip()[:300]
    if not reason:
        messages.error(request, "Say why the difference is accepted.")
        return redirect(account)
    try:
        reconciliation.accept(row, by=request.user, reason=reason, at=now())
    except AlphaStratError as error:
        messages.error(request, str(error))
    return redirect(account)


def _account(request: PageRequest, account_id: UUID) -> Account:
    found = Account.objects.for_user(request.user).select_related("strategy__current_version")
    return get_object_or_404(found, pk=account_id)


def _trading_words(standing: StrategyStanding) -> str:
    return f"{standing.reason} {protection_words(standing)}".strip()


def _drawdown(account: Account) -> float | None:
    """Return how far the account is below its highest mark, what was put in included."""
    marks = EquityPoint.objects.filter(account=account)
    peak = marks.aggregate(peak=Max("equity"))["peak"]
    return float(account.equity / peak - 1) if peak and peak > 0 else None


def _positions(account: Account) -> list[Position]:
    return list(account.positions.held().select_related("instrument"))  # type: ignore[attr-defined]


def _fills(account: Account) -> Any:
    rows = Fill.objects.filter(account=account)
    related = rows.select_related("instrument", "order", "corrects", "correction")
    return related.order_by("-filled_at", "-execution_id")


def _fill_page(request: PageRequest, account: Account) -> Any:
    page = Paginator(_fills(account), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    for fill in page.object_list:
        fill.slippage_bps = slippage_bps(fill)
        fill.standing = _standing(fill)
    return page


def slippage_bps(fill: Fill) -> float | None:
    """Return what a fill lost against its reference price; negative for a loss."""
    if not fill.reference_price:
        return None
    sign = 1 if fill.side == "buy" else -1
    return float(-sign * (fill.price / fill.reference_price - 1) * 10_000)


def _standing(fill: Fill) -> str:
    if getattr(fill, "correction", None) is not None:
        return "Replaced by a correction"
    if fill.is_cancelled:
        return "Cancels an execution"
    return "Correction" if fill.corrects_id else "Yes"


def _shown_order(order: Order) -> Order:
    order.shown_quantity = order.quantity or order.expected_quantity  # type: ignore[attr-defined]
    words = [f"{d.get('code', '')}: {d.get('message', '')}" for d in order.denials]
    order.why = " ".join(words) or order.note  # type: ignore[attr-defined]
    return order


def _export(request: PageRequest, account: Account) -> HttpResponseBase:
    table, form = request.GET.get("table", "fills"), request.GET["format"]
    orders = Order.objects.filter(account=account).select_related("instrument")
    tables: dict[str, tuple[Any, tuple[Column, ...]]] = {
        "fills": (_fills(account), FILL_EXPORTS),
        "orders": (orders, ORDER_EXPORTS),
        "positions": (account.positions.select_related("instrument"), POSITION_EXPORTS),
        "equity": (
            EquityPoint.objects.filter(account=account).order_by("marked_at"),
            EQUITY_EXPORTS,
        ),
    }
    if table not in tables:
        raise Http404
    rows, columns = tables[table]
    return exports.table_response(rows, columns, name=table, form=form)
