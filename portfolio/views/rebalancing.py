"""Rebalancing: triggers, drift, proposals, two-step approval, and the trigger laboratory."""

from __future__ import annotations

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

from alphastrat.core import exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from portfolio import rebalancing_charts, rebalancing_tables
from portfolio.models import Fill, Portfolio, Rebalance, RebalanceStatus
from portfolio.quant.rebalance_policies import Trigger
from portfolio.rebalancing_forms import RebalanceForm
from portfolio.services import rebalancing
from portfolio.services.laboratory import Laboratory, run_laboratory
from portfolio.services.portfolio_state import Snapshot, returns_of, take_snapshot
from portfolio.services.rebalance_checks import checks_of
from portfolio.services.rebalance_settings import OFF, settings_of
from portfolio.views.chosen import chosen_portfolio, portfolio_choices

HISTORY = 50
SWITCHABLE = set(OFF)


@login_required
@require_GET
def portfolio_rebalancing(request: PageRequest) -> HttpResponseBase:
    """Show triggers, drift and the proposals of a portfolio."""
    portfolio = chosen_portfolio(request)
    page, fragment = "portfolio/rebalancing.html", "portfolio/_rebalancing.html"
    if portfolio is None:
        return render_page(request, page, fragment, {})
    topic = f"portfolio:{portfolio.pk}"
    heads = live.heads(topic)
    snapshot = take_snapshot(portfolio, at=now())
    proposals = list(portfolio.rebalances.select_related("decided_by")[:HISTORY])
    for one in proposals:
        one.label = rebalancing_tables.trigger_label(one.trigger)  # type: ignore[attr-defined]
    if form := request.GET.get("format"):
        columns = rebalancing_tables.HISTORY_COLUMNS
        return exports.table_response(proposals, columns, name="rebalances", form=form)
    context: dict[str, Any] = {
        "portfolio": portfolio,
        "portfolios": portfolio_choices(request),
        "snapshot": snapshot,
        **_triggers(snapshot),
        "drift_columns": rebalancing_tables.DRIFT_COLUMNS,
        "drifts": rebalancing_tables.drift_rows(snapshot),
        "history_columns": rebalancing_tables.HISTORY_COLUMNS,
        "proposals": proposals,
        "undecided": next((one for one in proposals if one.is_undecided), None),
        "can_write": request.user.has_role(Role.TRADER),
        "topic": topic,
        "heads": heads,
    }
    return render_page(request, page, fragment, context)


@role_required(Role.TRADER)
def rebalancing_settings(request: PageRequest) -> HttpResponseBase:
    """Show and store the triggers of a portfolio."""
    portfolio = _chosen(request)
    form = RebalanceForm(request.POST or None, settings=settings_of(portfolio.rebalance_settings))
    if request.method == "POST" and form.is_valid():
        rebalancing.set_settings(portfolio, form.values())
        messages.success(request, "The triggers are set.")
        return redirect(_address(portfolio))
    status = 422 if form.errors else 200
    context = {"portfolio": portfolio, "form": form}
    return render(request, "portfolio/rebalancing_settings.html", context, status=status)


@role_required(Role.TRADER)
@require_POST
def trigger_switch(request: PageRequest, trigger: str) -> HttpResponse:
    """Switch one trigger of a portfolio on or off, at once."""
    portfolio, state = _chosen(request), request.POST.get("state")
    if trigger not in SWITCHABLE or state not in ("on", "off"):
        raise Http404
    rebalancing.switch_trigger(portfolio, Trigger(trigger), is_on=state == "on")
    if not request.htmx:
        messages.success(request, f"{rebalancing_tables.trigger_label(trigger)}: {state}.")
        return redirect(_address(portfolio))
    context = _triggers(take_snapshot(_chosen(request), at=now()))
    return render(request, "portfolio/_triggers.html", context)


@role_required(Role.TRADER)
@require_POST
def rebalance_new(request: PageRequest) -> HttpResponse:
    """Propose a rebalance by hand."""
    portfolio = _chosen(request)
    try:
        proposal = rebalancing.propose(
            portfolio, at=now(), reason=request.POST.get("reason", "")[:300]
        )
    except AlphaStratError as error:
        messages.info(request, str(error))
        return redirect(_address(portfolio))
    return redirect(proposal)


@login_required
@require_GET
def rebalance_detail(request: PageRequest, rebalance_id: UUID) -> HttpResponseBase:
    """Show a proposal and what became of it."""
    rebalance = _rebalance(request, rebalance_id)
    topic = f"portfolio:{rebalance.portfolio_id}"
    heads = live.heads(topic)
    trades = rebalancing_tables.trade_rows(rebalance)
    if form := request.GET.get("format"):
        columns = rebalancing_tables.TRADE_COLUMNS
        return exports.table_response(trades, columns, name="rebalance", form=form)
    checks = rebalance.checks
    if rebalance.status == RebalanceStatus.PROPOSED:
        # What was fresh when it was proposed need not be now.
        planned = list(rebalance.trades.select_related("account"))
        checks = checks_of(take_snapshot(rebalance.portfolio, at=now()), planned)
    fills = Fill.objects.filter(order__client_order_id__startswith=f"rebalance:{rebalance.pk}:")
    context: dict[str, Any] = {
        "rebalance": rebalance,
        "portfolio": rebalance.portfolio,
        "label": rebalancing_tables.trigger_label(rebalance.trigger),
        "moved": sum(abs(trade["amount"]) for trade in trades),
        "checks": checks,
        "is_blocked": any(check["blocks"] for check in checks),
        "trade_columns": rebalancing_tables.TRADE_COLUMNS,
        "trades": trades,
        "fill_columns": rebalancing_tables.FILL_COLUMNS,
        "fills": fills.select_related("account__strategy", "instrument"),
        "is_proposed": rebalance.status == RebalanceStatus.PROPOSED,
        "is_under_way": rebalance.status in (RebalanceStatus.APPROVED, RebalanceStatus.RUNNING),
        "can_write": request.user.has_role(Role.TRADER),
        "topic": topic,
        "heads": heads,
    }
    return render_page(
        request, "portfolio/rebalance_detail.html", "portfolio/_rebalance_detail.html", context
    )


@role_required(Role.TRADER)
@require_POST
def rebalance_decide(request: PageRequest, rebalance_id: UUID) -> HttpResponse:
    """Approve, reject or stop a rebalance, as the confirmed dialog says."""
    rebalance = _rebalance(request, rebalance_id)
    decision, reason = request.POST.get("decision", ""), request.POST.get("reason", "").strip()
    try:
        if decision == "stop":
            rebalancing.abandon(rebalance, by=request.user, reason=reason, at=now())
        elif decision in ("approve", "reject"):
            rebalancing.decide(
                rebalance,
                is_approved=decision == "approve",
                by=request.user,
                reason=reason,
                at=now(),
            )
        else:
            raise Http404
    except AlphaStratError as error:
        messages.error(request, str(error))
    return redirect(rebalance)


@login_required
@require_GET
def rebalancing_laboratory(request: PageRequest) -> HttpResponseBase:
    """Compare rebalancing policies over the strategies' history."""
    portfolio = _chosen(request)
    laboratory = _laboratory(portfolio)
    rows = [] if laboratory is None else rebalancing_tables.laboratory_rows(laboratory)
    if form := request.GET.get("format"):
        columns = rebalancing_tables.LABORATORY_COLUMNS
        return exports.table_response(rows, columns, name="laboratory", form=form)
    context = {
        "portfolio": portfolio,
        "laboratory": laboratory,
        "caption": "" if laboratory is None else rebalancing_charts.laboratory_words(laboratory),
        "columns": rebalancing_tables.LABORATORY_COLUMNS,
        "rows": rows,
    }
    return render_page(
        request, "portfolio/rebalancing_laboratory.html", "portfolio/_laboratory.html", context
    )


@login_required
@require_GET
def laboratory_chart(request: PageRequest) -> HttpResponseBase:
    """Answer the laboratory's figure."""
    laboratory = _laboratory(_chosen(request))
    if laboratory is None:
        raise Http404
    return figure_response(rebalancing_charts.laboratory_figure(laboratory))


def _triggers(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the table of triggers shows, each with the address of its switch."""
    rows = rebalancing_tables.trigger_rows(rebalancing.trigger_readings(snapshot))
    query = f"?portfolio={snapshot.portfolio.pk}"
    for row in rows:
        row["switch_url"] = reverse("portfolio:trigger-switch", args=[row["trigger"]]) + query
    return {"trigger_columns": rebalancing_tables.TRIGGER_COLUMNS, "triggers": rows}


def _laboratory(portfolio: Portfolio) -> Laboratory | None:
    snapshot = take_snapshot(portfolio, at=now())
    return run_laboratory(snapshot, returns_of(snapshot))


def _rebalance(request: PageRequest, rebalance_id: UUID) -> Rebalance:
    mine = Rebalance.objects.filter(portfolio__in=Portfolio.objects.for_user(request.user))
    found = mine.select_related("portfolio__owner", "decided_by", "job")
    return get_object_or_404(found, pk=rebalance_id)


def _chosen(request: PageRequest) -> Portfolio:
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        raise Http404("There is no portfolio yet.")
    return portfolio


def _address(portfolio: Portfolio) -> str:
    return f"{reverse('portfolio:rebalancing')}?portfolio={portfolio.pk}"
