"""Signals of strategies: a timeline, a chart of one instrument, exports; checks of a strategy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.html import format_html
from django.views.decorators.http import require_GET, require_POST

from alphastrat.core import charts, exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.formatting import ratio
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.previews import gauge
from alphastrat.core.tables import Column, read_order
from strategies.models import Strategy, StrategySignal
from strategies.models.signal import StrategySignalQuerySet
from strategies.services.strategy_checks import request_checks
from strategies.services.table_additions import OF_SIGNALS
from strategies.signal_charts import followed_bars, markers, signal_panel, summary
from strategies.signal_forms import SignalFilter

SIGNALS_PER_PAGE = 100
SIGNAL_COLUMNS = (
    Column("closed_at", "Bar close", "time", sort="closed_at"),
    Column("strategy.name", "Strategy", sort="strategy__name", link="strategy.get_absolute_url"),
    Column("instrument.symbol", "Instrument", sort="instrument__symbol"),
    Column("signal_type", "Signal", "status", sort="signal_type"),
    Column("strength_drawn", "Strength", "html", sort="strength"),
    Column("price", "Price", "price", sort="price"),
    Column("cause", "Because of"),
    Column("outcome", "Outcome", "signed_percent"),
    Column("version.number", "Version", "count"),
    Column("latency", "After the close", "duration"),
    Column("repaint", "Repainted", sort="n_repaints"),
)
EXPORTS = tuple(
    Column(key, key)
    for key in (
        "closed_at",
        "strategy.name",
        "instrument.symbol",
        "signal_type",
        "target",
        "strength",
        "price",
        "metadata",
        "version.number",
        "generated_at",
        "n_repaints",
        "repaint",
        "outcome",
    )
)


@login_required
@require_GET
def signal_list(request: PageRequest) -> HttpResponseBase:
    """Show the signals of all of one's strategies."""
    topic = f"signals:u{request.user.pk}"
    heads = live.heads(topic)
    return _page(request, StrategySignal.objects.for_user(request.user), None, topic, heads)


@login_required
@require_GET
def strategy_signals(request: PageRequest, strategy_id: UUID) -> HttpResponseBase:
    """Show the signals of one strategy."""
    topic = f"strategy:{strategy_id}"
    heads = live.heads(topic)
    strategy = _strategy(request, strategy_id)
    signals = StrategySignal.objects.filter(strategy=strategy)
    return _page(request, signals, strategy, topic, heads)


@login_required
@require_GET
def signal_chart(request: PageRequest, strategy_id: UUID, symbol: str) -> HttpResponse:
    """Answer the bars of an instrument with the signals that a strategy gave on it."""
    strategy = _strategy(request, strategy_id)
    if strategy.current_version is None or symbol not in strategy.current_version.symbols:
        raise Http404
    bars = followed_bars(strategy, symbol)
    if bars is None:
        raise Http404
    traces = [charts.candlesticks(bars, name=symbol)]
    first = bars.index[-charts.MAX_BARS :][0]
    given = StrategySignal.objects.filter(strategy=strategy, instrument__symbol=symbol)
    traces += markers(given, since=first.to_pydatetime())
    return charts.figure_response(charts.figure(traces, summary=summary(strategy, symbol)))


@role_required(Role.TRADER)
@require_POST
def strategy_check(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Ask for the look-ahead, warm-up and determinism checks."""
    job = request_checks(_strategy(request, strategy_id))
    return redirect("core:job-detail", job_id=job.pk)


def columns() -> tuple[Column, ...]:
    """Return the columns of a table of signals, with those of apps above."""
    return OF_SIGNALS.columns_after("cause", SIGNAL_COLUMNS)


def drawn(signals: Iterable[StrategySignal]) -> list[StrategySignal]:
    """Return signals with their strength as number and bar."""
    shown: list[Any] = list(signals)
    for one in shown:
        one.strength_drawn = format_html("{}{}", gauge(one.strength), ratio(one.strength).text)
    return shown


def _page(
    request: PageRequest,
    signals: StrategySignalQuerySet,
    strategy: Strategy | None,
    topic: str,
    heads: dict[str, int],
) -> HttpResponseBase:
    version = strategy.current_version if strategy is not None else None
    form = SignalFilter(request.GET, symbols=version.symbols if version is not None else None)
    order = read_order(request, SIGNAL_COLUMNS, default="-closed_at")
    chosen = form.apply(signals.listed().with_sequel())
    chosen = OF_SIGNALS.annotated(chosen).order_by(order.query_value, "-closed_at", "pk")
    if "format" in request.GET:
        kept = (*EXPORTS, *OF_SIGNALS.exports())
        return exports.table_response(chosen, kept, name="signals", form=request.GET["format"])
    page = Paginator(chosen, SIGNALS_PER_PAGE).get_page(request.GET.get("page"))
    page.object_list = drawn(page)
    hidden = {"strategy.name"} if strategy is not None else set()
    context: dict[str, Any] = {
        "form": form,
        "strategy": strategy,
        "columns": [column for column in columns() if column.key not in hidden],
        "order": order,
        "page": page,
        "topic": topic,
        "heads": heads,
    }
    if strategy is not None:
        wanted = form.cleaned_data.get("symbol", "") if form.is_valid() else ""
        context |= signal_panel(strategy, wanted=wanted)
    return render_page(
        request, "strategies/signal_list.html", "strategies/_signal_results.html", context
    )


def _strategy(request: PageRequest, strategy_id: UUID) -> Strategy:
    found = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(found, pk=strategy_id)
