"""Pages of backtests: the list, a new one, and what can be done to one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from strategies.forms import BacktestForm, RunFilter, initial_of
from strategies.models import BacktestRun, StrategyVersion, Sweep
from strategies.services import backtesting, specification
from strategies.services.lifecycle import matching_version
from strategies.services.studies import discard
from strategies.services.sweep_surface import set_specification
from strategies.views import studies

DEFAULT_PLUGIN = "rsi_mean_reversion"
N_SUGGESTED_SYMBOLS = 8

RUN_COLUMNS = (
    Column("title", "Backtest", sort="title", link="get_absolute_url"),
    Column("status", "State", "status", sort="status"),
    Column("get_engine_display", "Engine", sort="engine"),
    Column("total_return", "Return", "signed_percent", sort="total_return", metric="total_return"),
    Column("sharpe_ratio", "Sharpe", "signed_ratio", sort="sharpe_ratio", metric="sharpe_ratio"),
    Column("max_drawdown", "Drawdown", "signed_percent", sort="max_drawdown"),
    Column("win_rate", "Win rate", "percent", sort="win_rate", options={"places": 1}),
    Column("n_trades", "Trades", "count", sort="n_trades"),
    Column("period", "Period"),
    Column("requested_at", "Asked for", "age", sort="requested_at"),
)
EXPORTS = (
    "id",
    "title",
    "plugin",
    "engine",
    "timeframe",
    "start_at",
    "end_at",
    "status",
    "total_return",
    "annual_return",
    "volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "max_drawdown",
    "win_rate",
    "profit_factor",
    "exposure",
    "n_trades",
    "requested_at",
    "data_fingerprint",
    "code_version",
)


@login_required
@require_GET
def backtest_list(request: PageRequest) -> HttpResponseBase:
    form = RunFilter(request.GET)
    return studies.list_page(
        request, BacktestRun, form, name="backtest", columns=RUN_COLUMNS, export=EXPORTS
    )


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def backtest_new(request: PageRequest) -> HttpResponse:
    """Ask for a backtest; `?validate` answers the form with its problems and starts nothing."""
    if request.method == "GET":
        return _form_page(request, BacktestForm(initial=_initial(request)))
    form = BacktestForm(request.POST)
    is_valid = form.is_valid()
    if "validate" in request.GET or "refresh" in request.POST:
        form.excuse_unfinished()
        return _form_page(request, form)
    plan = form.plan
    if not is_valid or plan is None:
        return _form_page(request, form, status=422)
    version = _version(request, form, plan.specification)
    try:
        run = backtesting.request_backtest(
            request.user, plan.specification, at=now(), version=version
        )
    except AlphaStratError as error:
        form.report(error)
        return _form_page(request, form, status=422)
    if request.htmx:
        return HttpResponseClientRedirect(run.get_absolute_url())
    return redirect(run)


@role_required(Role.TRADER)
@require_POST
def backtest_retry(request: PageRequest, run_id: UUID) -> HttpResponse:
    run = backtesting.retry_backtest(_run(request, run_id), at=now())
    return redirect(run)


@role_required(Role.TRADER)
@require_POST
def backtest_delete(request: PageRequest, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    discard(run, at=now())
    messages.info(request, f"Deleted “{run.title}”. It still counts as a trial of its hypothesis.")
    return redirect("strategies:backtest-list")


def _run(request: PageRequest, run_id: UUID) -> BacktestRun:
    return get_object_or_404(BacktestRun.objects.for_user(request.user), pk=run_id)


def _form_page(request: PageRequest, form: BacktestForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "plan": form.plan, "plugin": form.plugin_class}
    return render_page(
        request,
        "strategies/backtest_new.html",
        "strategies/_backtest_form.html",
        context,
        status=status,
    )


def _initial(request: PageRequest) -> dict[str, Any]:
    """Start from an earlier run, from a set of a sweep, from a strategy, or from nothing."""
    if run_id := request.GET.get("from"):
        run = _run(request, studies.as_uuid(run_id))
        version = run.strategy_version
        return initial_of(specification.of_run(run)) | {
            "strategy": version.strategy_id if version else None
        }
    if sweep_id := request.GET.get("sweep"):
        sweeps = Sweep.objects.for_user(request.user)
        sweep = get_object_or_404(sweeps, pk=studies.as_uuid(sweep_id))
        return initial_of(set_specification(sweep, request.GET.get("set", "")))
    return studies.from_strategy(request) or studies.from_nothing(
        request, plugin=DEFAULT_PLUGIN, n_symbols=N_SUGGESTED_SYMBOLS
    )


def _version(
    request: PageRequest, form: BacktestForm, asked: specification.Specification
) -> StrategyVersion | None:
    """Return the strategy's version that this backtest is of; None if something was changed."""
    if not form.cleaned_data.get("strategy"):
        return None
    return matching_version(studies.find_strategy(request, form.cleaned_data["strategy"]), asked)
