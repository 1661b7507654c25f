"""Pages of strategies: list, one strategy with its versions, new, changed, moved on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from alphastrat.core import exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, read_order
from strategies.charts import equity, underwater
from strategies.models import (
    BacktestRun,
    LifecycleState,
    Strategy,
    StrategyCheck,
    StrategySignal,
    StrategyVersion,
)
from strategies.quant import registry
from strategies.services.lifecycle import change_strategy, create_strategy, move_strategy
from strategies.services.results import Results
from strategies.services.table_additions import OF_SIGNALS, OF_STRATEGIES
from strategies.signal_charts import signal_panel
from strategies.strategy_forms import StrategyFilter, StrategyForm, initial_of_version
from strategies.views import strategy_tables
from strategies.views.backtests import RUN_COLUMNS
from strategies.views.result_tables import exit_rows, sizing_words
from strategies.views.signals import columns, drawn

STRATEGIES_PER_PAGE = 50
N_RUNS = 10
N_SIGNALS = 8

STRATEGY_COLUMNS = (
    Column("name", "Strategy", sort="name", link="get_absolute_url"),
    Column("state", "State", "status", sort="state"),
    Column("latest_total_return", "Backtest return", "signed_percent", sort="latest_total_return"),
    Column("latest_sharpe_ratio", "Sharpe", "signed_ratio", sort="latest_sharpe_ratio"),
    Column("latest_max_drawdown", "Drawdown", "signed_percent", sort="latest_max_drawdown"),
    Column("latest_total_trades", "Trades", "count", sort="latest_total_trades"),
    Column("last_signal_at", "Last signal", "age", sort="last_signal_at"),
    Column("type_label", "Type", sort="plugin"),
    Column("timeframe", "Bars", sort="timeframe"),
)
TRANSITION_EFFECTS = {
    LifecycleState.VALIDATED: "Says that its backtests have been examined and believed.",
    LifecycleState.PAPER: "It gives signals at every bar close and trades on paper from then on.",
    LifecycleState.LIVE: "It counts as traded with real money and is verified from then on.",
    LifecycleState.SUSPENDED: "It stops giving signals until it is moved on.",
    LifecycleState.RETIRED: "It stops for good; its history stays.",
    LifecycleState.RESEARCH: "Back to research: nothing is traded.",
}


@login_required
@require_GET
def strategy_list(request: PageRequest) -> HttpResponseBase:
    form = StrategyFilter(request.GET)
    shown = OF_STRATEGIES.columns_after("state", STRATEGY_COLUMNS)
    order = read_order(request, shown, default="name")
    found = Strategy.objects.for_user(request.user).with_version().with_performance()
    found = OF_STRATEGIES.annotated(found.with_last_signal())
    chosen = form.apply(found).order_by(order.query_value, "name")
    if "format" in request.GET:
        kept = (*strategy_tables.EXPORTS, *OF_STRATEGIES.exports())
        rows = list(chosen)
        OF_STRATEGIES.complete(rows)
        return exports.table_response(rows, kept, name="strategies", form=request.GET["format"])
    page = Paginator(chosen, STRATEGIES_PER_PAGE).get_page(request.GET.get("page"))
    OF_STRATEGIES.complete(list(page))
    context = {"form": form, "columns": shown, "order": order, "page": page}
    return render_page(
        request, "strategies/strategy_list.html", "strategies/_strategy_results.html", context
    )


@login_required
@require_GET
def strategy_detail(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Show what a strategy is, what its backtests earned, and how it came to be."""
    topic = f"strategy:{strategy_id}"
    heads = live.heads(topic)
    strategy = _strategy(request, strategy_id)
    runs = BacktestRun.objects.filter(strategy_version__strategy=strategy)
    latest = runs.succeeded().select_related("strategy_version__strategy").first()
    context: dict[str, Any] = {
        "strategy": strategy,
        "is_installed": registry.find(strategy.plugin) is not None,
        **strategy_tables.tables_of(strategy),
        "runs": runs.listed()[:N_RUNS],
        "run_columns": [
            replace(column, sort="") for column in RUN_COLUMNS if column.key != "win_rate"
        ],
        "latest": latest,
        "checks": StrategyCheck.objects.filter(version=strategy.current_version),
        **_history(strategy),
        "backtest_href": f"{reverse('strategies:backtest-new')}?strategy={strategy.pk}",
        "transitions": [
            {
                "state": state.value,
                "label": state.label,
                "effect": TRANSITION_EFFECTS[state],
                "fields": {"state": state.value},
            }
            for state in strategy.next_states
        ],
        "can_write": request.user.has_role(Role.TRADER),
        "heads": heads,
        "topic": topic,
    }
    if latest is not None:
        results = Results(latest)
        context |= {
            "equity": equity(results),
            "underwater": underwater(results),
            "versus": results.benchmark_numbers,
        }
    return render_page(
        request, "strategies/strategy_detail.html", "strategies/_strategy.html", context
    )


@login_required
@require_GET
def strategy_parameters(request: PageRequest, strategy_id: UUID) -> HttpResponseBase:
    """Show the parameters of a strategy and the history of its versions."""
    strategy = _strategy(request, strategy_id)
    version = strategy.current_version
    if "format" in request.GET:
        rows = StrategyVersion.objects.filter(strategy=strategy).select_related("created_by")
        return exports.table_response(
            rows,
            strategy_tables.VERSION_EXPORTS,
            name="versions",
            form=request.GET["format"],
        )
    can_write = request.user.has_role(Role.TRADER)
    context: dict[str, Any] = {
        "strategy": strategy,
        "can_write": can_write,
        **strategy_tables.tables_of(strategy),
    }
    if can_write:
        context["version_columns"] += (strategy_tables.BACKTEST_COLUMN,)
    if version is not None:
        context["terms"] = [
            ("Instruments", ", ".join(version.symbols)),
            ("Timeframe", version.timeframe),
            ("Position size", sizing_words(version.sizing)),
            *(exit_rows(version.exit_rules) or [("Stops", "None: the strategy's own exits only")]),
        ]
    return render_page(
        request,
        "strategies/strategy_parameters.html",
        "strategies/_strategy_parameters.html",
        context,
    )


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def strategy_new(request: PageRequest) -> HttpResponse:
    """Ask for a new strategy; `?validate` answers the form with its problems."""
    if request.method == "GET":
        initial = {"plugin": request.GET.get("plugin", "rsi_mean_reversion")}
        return _form_page(request, StrategyForm(initial=initial))
    form = StrategyForm(request.POST)
    if (page := _draft_page(request, form)) is not None:
        return page
    try:
        strategy = create_strategy(request.user, form.draft())
    except AlphaStratError as error:
        form.report(error)
        return _form_page(request, form, status=422)
    return _done(request, strategy)


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def strategy_edit(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Change a strategy: every change makes a new version."""
    strategy = _strategy(request, strategy_id)
    version = strategy.current_version
    if request.method == "GET":
        initial = initial_of_version(version) if version is not None else {}
        return _form_page(request, StrategyForm(initial=initial), strategy)
    form = StrategyForm(request.POST)
    if (page := _draft_page(request, form, strategy)) is not None:
        return page
    try:
        made = change_strategy(
            strategy,
            form.draft(),
            by=request.user,
            reason=form.cleaned_data.get("reason", ""),
            expected_version=form.cleaned_data.get("expected_version") or 0,
        )
    except AlphaStratError as error:
        form.report(error)
        return _form_page(request, form, strategy, status=error.status)
    if version is not None and made.pk == version.pk:
        messages.info(request, "Nothing that makes a version was changed.")
    return _done(request, strategy)


@role_required(Role.TRADER)
@require_POST
def strategy_move(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Move a strategy to another state of its lifecycle."""
    strategy = _strategy(request, strategy_id)
    try:
        move_strategy(
            strategy,
            request.POST.get("state", ""),
            at=now(),
            reason=request.POST.get("reason", ""),
        )
    except AlphaStratError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{strategy.name} is now {strategy.get_state_display()}.")
    return redirect(strategy)


def _history(strategy: Strategy) -> dict[str, Any]:
    """Return the newest signals of a strategy, and the chart of the one on top."""
    newest = StrategySignal.objects.filter(strategy=strategy).exclude(signal_type="HOLD")
    shown = drawn(OF_SIGNALS.annotated(newest.listed().with_sequel())[:N_SIGNALS])
    left_out = ("strategy.name", "version.number", "latency")
    return {
        "signals": shown,
        "signal_columns": [
            replace(column, sort="") for column in columns() if column.key not in left_out
        ],
        **(signal_panel(strategy, wanted=shown[0].instrument.symbol) if shown else {}),
    }


def _strategy(request: PageRequest, strategy_id: UUID) -> Strategy:
    found = Strategy.objects.for_user(request.user).with_version().with_performance()
    return get_object_or_404(found, pk=strategy_id)


def _draft_page(
    request: PageRequest, form: StrategyForm, strategy: Strategy | None = None
) -> HttpResponse | None:
    """Answer a form that is only being checked, or is wrong; None where it can be carried out."""
    is_draft = "validate" in request.GET or "refresh" in request.POST
    is_valid = form.is_valid()
    if is_draft:
        form.excuse_unfinished()
        return _form_page(request, form, strategy)
    return None if is_valid else _form_page(request, form, strategy, status=422)


def _form_page(
    request: PageRequest,
    form: StrategyForm,
    strategy: Strategy | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "form": form,
        "strategy": strategy,
        "plugin": form.plugin_class,
        "complexity": strategy_tables.complexity_words(form.plugin_class),
    }
    return render_page(
        request,
        "strategies/strategy_form.html",
        "strategies/_strategy_form.html",
        context,
        status=status,
    )


def _done(request: PageRequest, strategy: Strategy) -> HttpResponse:
    if request.htmx:
        return HttpResponseClientRedirect(strategy.get_absolute_url())
    return redirect(strategy)
