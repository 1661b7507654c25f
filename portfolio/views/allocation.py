"""P10: what every strategy has, what it should have, and the optimiser."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect

from alphastrat.core import exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import AlphaStratError, InvalidInput
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.navigation import address
from alphastrat.core.tables import Column
from portfolio import allocation_charts
from portfolio.allocation_forms import OptimiseForm
from portfolio.models import Optimisation, Portfolio
from portfolio.quant.allocation_problem import LABELS
from portfolio.services import portfolio_optimizer
from portfolio.services.allocation_options import DEFAULTS, AllocationOptions, options_of
from portfolio.services.applied_weights import apply_and_propose
from portfolio.services.portfolio_state import Snapshot, take_snapshot
from portfolio.views.chosen import chosen_portfolio, portfolio_choices

EXPORTS = tuple(
    Column(name, name)
    for name in (
        "strategy_id",
        "strategy",
        "group",
        "state",
        "equity",
        "weight",
        "target_weight",
        "drift",
        "proposed_weight",
        "risk_share",
    )
)
FOUND_EXPORTS = tuple(
    Column(name, name)
    for name in (
        "id",
        "name",
        "group",
        "source",
        "n_days",
        "current",
        "weight",
        "change",
        "risk_share",
        "low",
        "high",
        "inclusion",
        "expected_return",
        "volatility",
    )
)
CHARTS = {"frontier": allocation_charts.frontier, "walk-forward": allocation_charts.walk_forward}


@login_required
@require_GET
def allocation(request: PageRequest) -> HttpResponseBase:
    """Show weights against targets, the newest answer and the form that asks for another."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        return render_page(
            request, "portfolio/allocation_empty.html", "portfolio/_allocation_empty.html", {}
        )
    heads = live.heads(f"portfolio:{portfolio.pk}")
    snapshot = take_snapshot(portfolio, at=now())
    newest = portfolio.optimisations.select_related("job").first()
    if form := request.GET.get("format"):
        if request.GET.get("table") == "found":
            rows = _found_rows((newest and newest.result) or {})
            return exports.table_response(rows, FOUND_EXPORTS, name="weights", form=form)
        rows = _rows(snapshot, newest, _stored_options(portfolio))
        return exports.table_response(rows, EXPORTS, name="allocation", form=form)
    context = _context(request, snapshot, newest) | {
        "heads": heads,
        "form": OptimiseForm(members=_members(portfolio), options=_stored_options(portfolio)),
        "portfolios": portfolio_choices(request),
    }
    return render_page(request, "portfolio/allocation.html", "portfolio/_allocation.html", context)


@role_required(Role.TRADER)
@require_POST
def optimise(request: PageRequest) -> HttpResponse:
    """Ask for weights; `?validate` answers the form and starts nothing."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        raise Http404
    form = OptimiseForm(request.POST, members=_members(portfolio))
    is_draft = "validate" in request.GET
    is_good = form.is_valid()
    if is_good and not is_draft:
        try:
            portfolio_optimizer.request_optimisation(portfolio, form.options, at=now())
        except InvalidInput as error:
            form.report(error)
        else:
            if request.htmx:
                return HttpResponseClientRedirect(portfolio.get_absolute_url())
            return redirect(portfolio)
    context = {"form": form, "portfolio": portfolio, "can_write": True}
    return render_page(
        request,
        "portfolio/optimise.html",
        "portfolio/_optimise_form.html",
        context,
        status=200 if is_draft else 422,
    )


@role_required(Role.TRADER)
@require_POST
def use_weights(request: PageRequest, optimisation_id: UUID) -> HttpResponse:
    """Make the weights found the targets."""
    optimisation = _find(request, optimisation_id)
    try:
        portfolio_optimizer.apply_targets(optimisation)
    except AlphaStratError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, "These weights are the targets now. Rebalancing moves the capital."
        )
    return redirect(optimisation.portfolio)


@role_required(Role.TRADER)
@require_POST
def propose_weights(request: PageRequest, optimisation_id: UUID) -> HttpResponse:
    """Make the weights found the targets, and open the rebalance that leads to them."""
    optimisation = _find(request, optimisation_id)
    try:
        proposal = apply_and_propose(optimisation, by=request.user, at=now())
    except InvalidInput as error:
        messages.info(request, str(error))
    except AlphaStratError as error:
        messages.error(request, str(error))
    else:
        return redirect(proposal)
    return redirect(optimisation.portfolio)


@login_required
@require_GET
def allocation_chart(request: PageRequest, optimisation_id: UUID, chart: str) -> HttpResponseBase:
    """Answer a chart's figure, or its numbers with `?format=csv`."""
    optimisation = _find(request, optimisation_id)
    if chart not in CHARTS or not (optimisation.result or {}).get("frontier"):
        raise Http404
    built = CHARTS[chart](optimisation.result or {})
    if built.is_empty:
        raise Http404
    if form := request.GET.get("format"):
        rows = [dict(zip(built.columns, row, strict=True)) for row in built.rows()]
        columns = [Column(name, name) for name in built.columns]
        return exports.table_response(rows, columns, name=built.key, form=form)
    return figure_response(built.draw())


def _find(request: PageRequest, optimisation_id: UUID) -> Optimisation:
    visible = Optimisation.objects.filter(portfolio__in=Portfolio.objects.for_user(request.user))
    return get_object_or_404(visible.select_related("portfolio"), pk=optimisation_id)


def _members(portfolio: Portfolio) -> list[Any]:
    return list(portfolio.members.select_related("strategy"))


def _stored_options(portfolio: Portfolio) -> AllocationOptions:
    try:
        return options_of(portfolio.allocation_settings)
    except InvalidInput:
        # Settings of an older version, of which not all exist any more.
        return DEFAULTS


def _context(
    request: PageRequest, snapshot: Snapshot, newest: Optimisation | None
) -> dict[str, Any]:
    options = _stored_options(snapshot.portfolio)
    rows = _rows(snapshot, newest, options)
    held = [(row["name"], row["weight"]) for row in rows]
    cash = float(snapshot.weights[-1]) if snapshot.equity > 0 else 0.0
    parts = allocation_charts.slices(held, cash)
    return {
        "portfolio": snapshot.portfolio,
        "snapshot": snapshot,
        "rows": rows,
        "slices": parts,
        "ring": allocation_charts.ring(parts, label="Weights now, as in the table"),
        "cash": cash,
        "target_cash": float(snapshot.targets[-1]),
        "largest_drift": max((row["drift"] for row in rows), key=abs, default=None),
        "threshold": options.max_weight,
        "topic": f"portfolio:{snapshot.portfolio.pk}",
        "forms": exports.FORMS,
        "can_write": request.user.has_role(Role.TRADER),
        "rebalancing_url": address("portfolio:rebalancing"),
        **_answer(newest),
    }


def _rows(
    snapshot: Snapshot, newest: Optimisation | None, options: AllocationOptions
) -> list[dict[str, Any]]:
    found = {row["id"]: row for row in ((newest and newest.result) or {}).get("strategies", [])}
    rows = []
    for line in snapshot.lines:
        own = found.get(str(line.strategy_id), {})
        limit = line.member.maximum_weight or options.max_weight
        rows.append(
            {
                "strategy_id": line.strategy_id,
                "strategy": line.name,
                "name": line.name,
                "url": line.member.strategy.get_absolute_url(),
                "group": line.member.group,
                "state": line.member.strategy.state,
                "equity": line.equity,
                "weight": line.weight,
                "target": line.target,
                "target_weight": line.target,
                "drift": line.drift,
                "is_over": line.weight > limit + 1e-6,
                "is_locked": line.is_locked,
                "bar": round(min(line.weight, 1.0) * 100, 2),
                "mark": round(min(line.target, 1.0) * 100, 2),
                "proposed_weight": own.get("weight"),
                "risk_share": own.get("risk_share"),
            }
        )
    return sorted(rows, key=lambda row: (-row["weight"], -row["target"], row["name"]))


def _answer(newest: Optimisation | None) -> dict[str, Any]:
    """Return what the page shows of the newest question."""
    if newest is None:
        return {"optimisation": None}
    result = newest.result or {}
    context: dict[str, Any] = {
        "optimisation": newest,
        "method_label": LABELS.get(newest.method, newest.method),
        "result": result,
        "conflict": result.get("conflict"),
        "is_running": newest.status in ("queued", "running") and newest.job is not None,
        "found": _found_rows(result),
    }
    if "frontier" in result:
        context["frontier"] = allocation_charts.frontier(result)
    if "walk_forward" in result:
        context["walk_forward"] = allocation_charts.walk_forward(result)
        context["tested"] = result["walk_forward"]
    return context


def _found_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    bands = (result.get("sensitivity") or {}).get("strategies") or []
    rows = [
        row
        | (bands[i] if i < len(bands) else {"low": None, "high": None, "inclusion": None})
        | {"change": row["weight"] - row["current"]}
        for i, row in enumerate(result.get("strategies", []))
    ]
    return sorted(rows, key=lambda row: -row["weight"])
