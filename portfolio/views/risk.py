"""Risk of a portfolio: exposure, limits, heat, tails; the kill switch and the limits' form."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_POST

from alphastrat.core import exports, live, previews
from alphastrat.core.access import Role, role_required
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import InvalidInput
from alphastrat.core.http import PageRequest, render_page
from alphastrat.quant.types import FloatArray
from portfolio import risk_charts, risk_tables
from portfolio.models import Account, Portfolio, RiskLimits, TradingState
from portfolio.risk_forms import LimitsForm, TradingStateForm, switches
from portfolio.services import portfolio_beta, trading_states
from portfolio.services.risk_metrics import (
    backtest_tail,
    measure_risk,
    measure_tail,
    strategy_weights,
)
from portfolio.views.chosen import chosen_portfolio, portfolio_choices
from strategies.models import Strategy


@login_required
@require_GET
def portfolio_risk(request: PageRequest) -> HttpResponseBase:
    """Show what is at work and at risk now."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        return render_page(request, "portfolio/risk.html", "portfolio/_risk.html", {})
    topic = f"portfolio:{portfolio.pk}"
    heads = live.heads(topic)
    risk = measure_risk(portfolio, at=now())
    limits = risk_tables.limit_rows(risk.limits)
    if form := request.GET.get("format"):
        columns = risk_tables.LIMIT_COLUMNS
        return exports.table_response(limits, columns, name="limits", form=form)
    context: dict[str, Any] = {
        "portfolio": portfolio,
        "portfolios": portfolio_choices(request),
        "risk": risk,
        "limit_rows": limits,
        "limit_columns": risk_tables.LIMIT_COLUMNS,
        "exposure_columns": risk_tables.EXPOSURE_COLUMNS,
        "exposures": [
            ("strategies", "By strategy", risk_tables.exposure_rows(risk.by_strategy)),
            ("instruments", "By instrument", risk_tables.exposure_rows(risk.by_instrument)),
            ("groups", "By group", risk_tables.exposure_rows(risk.by_group)),
        ],
        "denial_columns": risk_tables.DENIAL_COLUMNS,
        "denials": risk_tables.denial_rows(risk.denials),
        "action_columns": risk_tables.ACTION_COLUMNS,
        "actions": risk_tables.action_rows(risk.actions),
        "stopped": risk_tables.stopped_rows(risk.stopped),
        "trading_note": risk_tables.protection_words(portfolio),
        "at_broker": risk.at_broker,
        "can_write": request.user.has_role(Role.TRADER),
        "topic": topic,
        "heads": heads,
        **switches(portfolio=str(portfolio.pk)),
    }
    return render_page(request, "portfolio/risk.html", "portfolio/_risk.html", context)


@login_required
@require_GET
def risk_tail(request: PageRequest) -> HttpResponseBase:
    """Show value at risk, its backtest, contributions and stress of today's weights."""
    portfolio = _chosen(request)
    weights = strategy_weights(portfolio)
    tail = measure_tail(weights, at=now())
    context: dict[str, Any] = {"portfolio": portfolio, "tail": tail}
    if tail is not None:
        names = _names(portfolio, list(weights))
        context |= {
            "caption": risk_charts.tail_words(tail),
            "svg": previews.svg_preview({"live": tail.portfolio_returns.tolist()}),
            "tail_columns": risk_tables.TAIL_COLUMNS,
            "tail_rows": risk_tables.tail_rows(tail.rows),
            "backtest_columns": risk_tables.BACKTEST_COLUMNS,
            "backtest_rows": risk_tables.backtest_rows(backtest_tail(tail.portfolio_returns)),
            "contribution_columns": risk_tables.CONTRIBUTION_COLUMNS,
            "contributions": risk_tables.contribution_rows(tail, names),
            "stress_columns": risk_tables.STRESS_COLUMNS,
            "stress_rows": risk_tables.stress_rows(tail, names),
            **_beta(request, portfolio, tail.returns.dates, tail.portfolio_returns),
        }
        if form := request.GET.get("format"):
            columns = risk_tables.TAIL_COLUMNS
            return exports.table_response(context["tail_rows"], columns, name="tail", form=form)
    return render_page(request, "portfolio/risk_tail.html", "portfolio/_risk_tail.html", context)


@login_required
@require_GET
def risk_beta(request: PageRequest) -> HttpResponseBase:
    """Show how much today's weights move with a chosen benchmark."""
    portfolio = _chosen(request)
    history = portfolio_beta.todays_returns(strategy_weights(portfolio), at=now())
    context = {"portfolio": portfolio, **_beta(request, portfolio, *history)}
    if form := request.GET.get("format"):
        rows = [portfolio_beta.as_json(context["beta"])]
        return exports.table_response(rows, risk_tables.BETA_EXPORTS, name="beta", form=form)
    return render_page(request, "portfolio/risk_beta.html", "portfolio/_risk_beta.html", context)


@login_required
@require_GET
def risk_chart(request: PageRequest, chart: str) -> HttpResponseBase:
    """Answer the figure of the risk page."""
    tail = measure_tail(strategy_weights(_chosen(request)), at=now())
    if tail is None or chart != "tail":
        raise Http404
    return figure_response(risk_charts.tail_figure(tail))


@role_required(Role.TRADER)
@require_POST
def portfolio_trading_state(request: PageRequest) -> HttpResponse:
    """Change what the portfolio may trade: the kill switch."""
    portfolio = _chosen(request)
    return _change_state(request, portfolio, _address(portfolio))


@role_required(Role.TRADER)
@require_POST
def strategy_trading_state(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Change what one strategy may trade, and go back to its account."""
    strategy = get_object_or_404(Strategy.objects.for_user(request.user), pk=strategy_id)
    account = Account.objects.open().filter(strategy=strategy).first()
    back = _address(None) if account is None else account.get_absolute_url()
    return _change_state(request, strategy, back)


@role_required(Role.TRADER)
def risk_limits(request: PageRequest) -> HttpResponseBase:
    """Show and store the limits of a portfolio."""
    portfolio = _chosen(request)
    row = RiskLimits.objects.filter(portfolio=portfolio).first()
    form = LimitsForm(request.POST or None, row=row)
    if request.method == "POST" and form.is_valid():
        RiskLimits.objects.update_or_create(
            portfolio=portfolio,
            defaults={
                "owner": portfolio.owner,
                "values": form.values(),
                "drawdown_action": form.cleaned_data["drawdown_action"],
            },
        )
        messages.success(request, "The limits are in force.")
        return redirect(_address(portfolio))
    context = {"portfolio": portfolio, "form": form}
    status = 422 if form.errors else 200
    return render(request, "portfolio/risk_limits.html", context, status=status)


def _change_state(request: PageRequest, subject: Portfolio | Strategy, back: str) -> HttpResponse:
    form = TradingStateForm(request.POST)
    if not form.is_valid():
        problem = next(iter(form.errors.values()))[0]
        messages.error(request, f"Nothing was changed: {problem}")
        return redirect(back)
    state = form.cleaned_data["trading_state"]
    trading_states.set_trading_state(
        subject,
        state,
        reason=form.cleaned_data["reason"],
        by=request.user,
        at=now(),
        keeps_protection=form.keeps_protection,
    )
    messages.success(request, f"{subject}: {TradingState(state).label}.")
    if state == TradingState.ACTIVE and (warning := trading_states.stops_again(subject)):
        messages.warning(request, warning)
    return redirect(back)


def _beta(
    request: PageRequest, portfolio: Portfolio, days: Sequence[date], returns: FloatArray
) -> dict[str, Any]:
    try:
        window = portfolio_beta.window_of(request.GET.get("window"))
    except InvalidInput as error:
        raise Http404("This window is not offered.") from error
    chosen = request.GET.get("benchmark") or portfolio_beta.USUAL
    found = portfolio_beta.portfolio_beta(
        portfolio, days, returns, benchmark=chosen, window=window, at=now()
    )
    return {
        "beta": found,
        "method": portfolio_beta.METHOD,
        "benchmarks": portfolio_beta.benchmark_choices(),
        "windows": portfolio_beta.WINDOWS,
        "forms": exports.FORMS,
    }


def _chosen(request: PageRequest) -> Portfolio:
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        raise Http404("There is no portfolio yet.")
    return portfolio


def _address(portfolio: Portfolio | None) -> str:
    query = "" if portfolio is None else f"?portfolio={portfolio.pk}"
    return f"{reverse('portfolio:risk')}{query}"


def _names(portfolio: Portfolio, strategy_ids: list[UUID]) -> list[str]:
    known = dict(portfolio.members.values_list("strategy_id", "strategy__name"))
    return [known.get(one, "") for one in strategy_ids]
