"""What the pages of backtests, walk-forwards and sweeps share: lists, and how a form starts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Max, Min
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from alphastrat.core import exports, live
from alphastrat.core.errors import InvalidInput
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, read_order
from alphastrat.marketdata.models import BarSeries, Instrument
from strategies.forms import RunFilter, default_period, initial_of
from strategies.models import BacktestRun, Strategy
from strategies.models.search import Search
from strategies.services.lifecycle import version_of
from strategies.services.specification import of_version

PER_PAGE = 50
# A backtest without any costs flatters.
DEFAULT_COSTS = {"costs__commission_bps": 1, "costs__slippage_bps": 2}


def list_page(
    request: PageRequest,
    model: type[BacktestRun] | type[Search],
    form: RunFilter,
    *,
    name: str,
    columns: tuple[Column, ...],
    export: tuple[str, ...],
) -> HttpResponseBase:
    """Show or export the studies of one kind; `name` is that of its templates."""
    topic = f"jobs:u{request.user.pk}"
    heads = live.heads(topic)
    order = read_order(request, columns, default="-requested_at")
    found: Any = model.objects.for_user(request.user)
    found = form.apply(found.listed())
    rows = found.order_by(order.query_value, "-requested_at")
    if wanted := request.GET.get("format"):
        plural = f"{name.replace('_', '-')}s"
        plain = [Column(key, key) for key in export]
        return exports.table_response(rows, plain, name=plural, form=wanted)
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "columns": columns,
        "order": order,
        "page": page,
        "running": [one for one in page if not one.is_ended and one.job is not None],
        "heads": {"jobs": heads[topic]},
    }
    return render_page(
        request, f"strategies/{name}_list.html", f"strategies/_{name}_results.html", context
    )


def from_strategy(request: PageRequest) -> dict[str, Any] | None:
    """Return how a form starts from the strategy that the address names, None without one.

    It may name a version of it too.
    """
    if not (strategy_id := request.GET.get("strategy")):
        return None
    strategy = find_strategy(request, as_uuid(strategy_id))
    if strategy.current_version is None:
        return None
    try:
        version = version_of(strategy, as_number(request.GET.get("version")))
    except InvalidInput:
        raise Http404 from None
    start, end = _period(version.symbols)
    asked = of_version(version, start=start, end=end)
    return initial_of(asked) | {"strategy": strategy.pk} | DEFAULT_COSTS


def from_nothing(request: PageRequest, *, plugin: str, n_symbols: int) -> dict[str, Any]:
    """Return how a form starts from what the installation holds."""
    held = Instrument.objects.filter(
        is_active=True, series__timeframe="1d", series__bar_count__gt=0
    )
    symbols = list(held.distinct().values_list("symbol", flat=True)[:n_symbols])
    start, end = _period(symbols)
    return {
        "plugin": request.GET.get("plugin", plugin),
        "symbols": request.GET.get("symbols", ", ".join(symbols)),
        "start": start,
        "end": end,
    } | DEFAULT_COSTS


def find_strategy(request: PageRequest, strategy_id: UUID) -> Strategy:
    """Return a strategy that the person may see, or answer 404."""
    strategies = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(strategies, pk=strategy_id)


def as_number(text: str | None) -> int | None:
    """Return a number from a query string, None where it is left out; or answer 404."""
    try:
        return int(text) if text else None
    except ValueError:
        raise Http404 from None


def as_uuid(text: str) -> UUID:
    """Return an id from a query string, or answer 404."""
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


def _period(symbols: Sequence[str]) -> tuple[date, date]:
    """Return the newest years that daily bars of instruments are held of."""
    held = BarSeries.objects.filter(instrument__symbol__in=symbols, timeframe="1d").aggregate(
        first=Min("first_opened_at"), last=Max("last_closed_at")
    )
    first, last = held["first"], held["last"]
    return default_period(first and first.date(), last and last.date())
