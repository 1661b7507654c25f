"""Pages of verification: all verdicts, one with its evidence, and live against its shadow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, F
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alphastrat.core import exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import AlphaStratError, NotEnoughData
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, read_order
from monitoring.models import Expectation, Verification, VerificationStatus, VerificationTransition
from monitoring.quant.checks import evidence_text
from monitoring.services import (
    detection,
    expectations,
    gap_ledger,
    lifecycle_gates,
    live_parts,
    performance_validator,
    signal_divergence,
)
from monitoring.services.performance_validator import Examined
from monitoring.verification_charts import EXAMINED, EXPLAINED, OF_EXAMINED, live_sharpe
from monitoring.verification_forms import OverruleForm, VerificationFilter, VerificationSettings
from monitoring.verification_receivers import verify_now
from monitoring.verification_report import report_response
from monitoring.verification_tables import check_cell
from strategies.models import Strategy

VERDICTS_PER_PAGE = 100
DIVERGENCES_PER_PAGE = 20
N_TRANSITIONS = 30
CHECKS = (
    ("return", "Return"),
    ("drawdown", "Drawdown"),
    ("envelope", "Envelope"),
    ("win_rate", "Win rate"),
    ("frequency", "Round trips"),
    ("slippage", "Fills"),
    ("matching", "Missed"),
    ("signals", "Signals"),
    ("volatility", "Volatility"),
    ("drift", "CUSUM"),
    ("freshness", "Newest bar"),
)
VERDICT_COLUMNS = (
    Column("strategy.name", "Strategy", sort="strategy__name", link="href"),
    Column("status", "Verdict", "status", sort="status"),
    Column("score", "Health", "count", sort="score"),
    Column("e_text", "E", sort="e_value"),
    *(Column(f"cells.{key}", label, "html") for key, label in CHECKS),
    Column("n_bars", "Bars", "count", sort="n_bars"),
    Column("observed_to", "As of", "time", sort="observed_to"),
)
EXPORT_COLUMNS = (
    *(Column(key, key) for key in ("strategy.name", "status", "reason", "score", "coverage")),
    *(Column(key, key) for key in ("e_value", "n_bars", "n_trades", "observed_to")),
    *(Column(f"states.{key}", key) for key, _ in CHECKS),
    *(Column(f"values.{key}", f"{key}_value") for key, _ in CHECKS),
)
REGIME_COLUMNS = (
    Column("name", "Regime"),
    Column("n_bars", "Bars", "count"),
    Column("mean", "Mean per bar", "signed_percent", options={"places": 3}),
    Column("deviation", "Deviation per bar", "percent"),
    Column("share_positive", "Positive bars", "percent", options={"places": 0}),
)
GAP_COLUMNS = (
    Column("time", "Bar close", "time"),
    Column("symbol", "Instrument"),
    Column("side", "Side", "status"),
    Column("shadow_quantity", "Shadow units", "ratio"),
    Column("shadow_price", "Shadow price", "price"),
    Column("live_quantity", "Live units", "ratio"),
    Column("live_price", "Live price", "price"),
    Column("slippage_bps", "Slippage bp", "signed_ratio"),
    Column("late_bars", "Bars late", "count"),
    Column("cause_label", "Cause"),
    Column("gap_bps", "Gap bp", "signed_ratio"),
)
DIVERGENCE_COLUMNS = (
    Column("time", "Bar close", "time"),
    Column("symbol", "Instrument"),
    Column("kind_label", "Difference"),
    Column("live", "Live", "status"),
    Column("live_strength", "Strength", "ratio"),
    Column("again", "Re-run", "status"),
    Column("again_strength", "Strength", "ratio"),
    Column("reason_label", "Why"),
)
DIVERGENCE_EXPORTS = tuple(
    Column(key, key)
    for key in (
        *("time", "symbol", "kind", "live", "live_strength", "again", "again_strength"),
        "reason",
    )
)
TRIP_RATES = {
    "expected": "trips_per_bar",
    "low": "trips_per_bar_low",
    "high": "trips_per_bar_high",
}
PART_COLUMNS = (
    Column("label", "Part"),
    Column("meaning", "Difference"),
    Column("before", "From", "signed_percent"),
    Column("after", "To", "signed_percent"),
    Column("difference", "Moved by", "signed_points"),
    Column("state", "Checks", "status"),
)
CAUSE_COLUMNS = (
    Column("label", "Cause"),
    Column("bps", "Basis points", "signed_ratio"),
)


@dataclass(frozen=True, slots=True)
class GapRow:
    """One line of the matched fills, with its cause in words."""

    entry: gap_ledger.GapEntry

    def __getattr__(self, name: str) -> Any:
        return getattr(self.entry, name)

    @property
    def cause_label(self) -> str:
        return CAUSE_WORDS.get(self.entry.cause, "No difference")


CAUSE_WORDS = {cause.value: label for cause, label in gap_ledger.CAUSE_LABELS.items()}


@login_required
@require_GET
def verification_list(request: PageRequest) -> HttpResponseBase:
    """Show the verdict on every live strategy, check by check."""
    topic = f"verification:u{request.user.pk}"
    heads = live.heads(topic)
    mine = Verification.objects.for_user(request.user)
    form = VerificationFilter(request.GET)
    order = read_order(request, VERDICT_COLUMNS, default="strategy__name")
    chosen = (
        form.apply(mine)
        .select_related("strategy")
        .order_by(order.query_value, "strategy__name", "pk")
    )
    if "format" in request.GET:
        return exports.table_response(
            (_row(one) for one in chosen),
            EXPORT_COLUMNS,
            name="verification",
            form=request.GET["format"],
        )
    page = Paginator(chosen, VERDICTS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "rows": [_row(one) for one in page.object_list],
        "columns": VERDICT_COLUMNS,
        "order": order,
        "page": page,
        "counts": _counts(request, mine),
        "heads": heads,
        "topic": topic,
    }
    return render_page(
        request,
        "monitoring/verification_list.html",
        "monitoring/_verification_results.html",
        context,
    )


@login_required
@require_GET
def verification_detail(request: PageRequest, strategy_id: UUID) -> HttpResponseBase:
    """Show why a strategy stands as it does.

    `?format=pdf` answers that as a report, `?format=csv` the signals that differ.
    """
    topic = f"strategy:{strategy_id}"
    heads = live.heads(topic)
    strategy = _strategy(request, strategy_id)
    if request.GET.get("format") == "pdf":
        return report_response(strategy, at=now())
    differing = signal_divergence.entries(strategy)
    if "format" in request.GET:
        return exports.table_response(
            differing,
            DIVERGENCE_EXPORTS,
            name=f"signals-{strategy.pk}",
            form=request.GET["format"],
        )
    verification, _ = Verification.objects.get_or_create(strategy=strategy)
    context = {
        **_evidence_context(strategy, verification),
        "divergences": Paginator(differing, DIVERGENCES_PER_PAGE).get_page(request.GET.get("page")),
        "divergence_columns": DIVERGENCE_COLUMNS,
        "form": VerificationSettings.of(verification, is_open=request.user.has_role(Role.TRADER)),
        "overrule_form": OverruleForm(),
        "can_write": request.user.has_role(Role.TRADER),
        "heads": heads,
        "topic": topic,
    }
    return render_page(
        request,
        "monitoring/verification_detail.html",
        "monitoring/_verification.html",
        context,
    )


@login_required
@require_GET
def verification_summary(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Answer the verdict in a few lines, for the page of the strategy."""
    strategy = _strategy(request, strategy_id)
    promised = F("expectation__run__profit_factor")
    mine = Verification.objects.filter(strategy=strategy)
    verification = mine.annotate(promised_profit_factor=promised).first()
    page = "monitoring/_verification_summary.html"
    context: dict[str, Any] = {
        "strategy": strategy,
        "verification": verification,
        "e_text": evidence_text(verification.e_value if verification else None),
    }
    found = performance_validator.examine(strategy.pk, at=now())
    if len(found.times):
        context |= {
            "began": found.times[0],
            "figures": live_parts.live_figures(found),
            "chart": EXAMINED["envelope"](found),
            "sharpe_chart": live_sharpe(found),
            "gap": _gap(strategy),
            **_parts_context(found),
        }
    return render_page(request, page, page, context)


@login_required
@require_GET
def verification_chart(request: PageRequest, strategy_id: UUID, chart: str) -> HttpResponseBase:
    """Answer a figure, or its numbers with `?format=csv`."""
    strategy = _strategy(request, strategy_id)
    try:
        if chart in OF_EXAMINED:
            built = OF_EXAMINED[chart](performance_validator.examine(strategy.pk, at=now()))
        elif chart in EXPLAINED:
            built = EXPLAINED[chart](gap_ledger.explain(strategy))
        else:
            raise Http404
    except NotEnoughData:
        raise Http404 from None
    form = request.GET.get("format")
    if form:
        columns = [Column(name, name) for name in built.columns]
        rows = (dict(zip(built.columns, row, strict=True)) for row in built.rows())
        return exports.table_response(rows, columns, name=f"{chart}-{strategy.pk}", form=form)
    return figure_response(built.draw())


@login_required
@require_GET
def verification_delays(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Answer how long a loss of edge goes unseen under a budget that is being considered."""
    strategy = _strategy(request, strategy_id)
    expectation = Expectation.objects.filter(strategy=strategy, is_current=True).first()
    form = VerificationSettings(request.GET)
    form.is_valid()
    asked = form.cleaned_data.get("false_alarms_per_year")
    found = None
    if expectation is not None and asked is not None:
        found = detection.sensitivity(expectation, budget=asked)
    page = "monitoring/_verification_delays.html"
    context = {
        "sensitivity": found,
        "expectation": expectation,
        "n_counted": len(performance_validator.examine(strategy.pk, at=now()).times),
    }
    return render_page(request, page, page, context)


@role_required(Role.TRADER)
@require_http_methods(["POST"])
def verification_settings(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Change how a strategy is judged; `?validate` answers the form with its problems."""
    strategy = _strategy(request, strategy_id)
    form = VerificationSettings(request.POST)
    is_draft = "validate" in request.GET
    if not form.is_valid() or is_draft:
        context = {"form": form, "strategy": strategy, "can_write": True}
        page = "monitoring/_verification_settings.html"
        status = 200 if is_draft else 422
        full = "monitoring/verification_settings.html"
        return render_page(request, full, page, context, status=status)
    Verification.objects.update_or_create(strategy=strategy, defaults=form.changes())
    lifecycle_gates.judge([strategy.pk], at=now())
    messages.success(request, "Saved; the verdict was looked at again under these terms.")
    return _back(request, strategy)


@role_required(Role.TRADER)
@require_POST
def verification_verify(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Ask a worker to run the shadow and judge the strategy now."""
    job = verify_now(_strategy(request, strategy_id))
    return redirect("core:job-detail", job_id=job.pk)


@role_required(Role.TRADER)
@require_POST
def verification_freeze(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Freeze the expectation of the current version anew."""
    strategy = _strategy(request, strategy_id)
    try:
        expectations.freeze(strategy, at=now(), by=request.user)
    except AlphaStratError as error:
        messages.error(request, str(error))
    else:
        lifecycle_gates.judge([strategy.pk], at=now())
        messages.success(request, "Frozen: from now on this is what the strategy is held to.")
    return _back(request, strategy)


@role_required(Role.TRADER)
@require_POST
def verification_acknowledge(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Start the evidence anew after somebody has looked."""
    strategy = _strategy(request, strategy_id)
    lifecycle_gates.acknowledge(
        strategy, by=request.user, reason=request.POST.get("reason", ""), at=now()
    )
    messages.success(
        request, "Acknowledged. The evidence starts anew; the verdict follows ten clean bars."
    )
    return _back(request, strategy)


@role_required(Role.TRADER)
@require_POST
def verification_overrule(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Set a verdict by hand, with a reason."""
    strategy = _strategy(request, strategy_id)
    form = OverruleForm(request.POST)
    if form.is_valid():
        lifecycle_gates.overrule(strategy, by=request.user, at=now(), **form.cleaned_data)
        messages.success(request, "The verdict was set by hand; the reason is in its history.")
    else:
        messages.error(request, "Choose a verdict and say why.")
    return _back(request, strategy)


@login_required
@require_GET
def reconciliation(request: PageRequest, strategy_id: UUID) -> HttpResponseBase:
    """Show why live trading earned something else than the same version on the same bars."""
    topic = f"strategy:{strategy_id}"
    heads = live.heads(topic)
    strategy = _strategy(request, strategy_id)
    context: dict[str, Any] = {
        "strategy": strategy,
        "can_write": request.user.has_role(Role.TRADER),
        "heads": heads,
        "topic": topic,
    }
    try:
        gap = gap_ledger.explain(strategy)
    except NotEnoughData as error:
        context["missing"] = str(error)
    else:
        cause = request.GET.get("cause", "")
        rows = [GapRow(one) for one in gap.entries if not cause or one.cause == cause]
        if "format" in request.GET:
            return exports.table_response(
                rows, GAP_COLUMNS, name=f"gap-{strategy.pk}", form=request.GET["format"]
            )
        page = Paginator(rows, VERDICTS_PER_PAGE).get_page(request.GET.get("page"))
        context |= {
            "gap": gap,
            "ledger": gap.ledger,
            "charts": [draw(gap) for draw in EXPLAINED.values()],
            "causes": gap.causes,
            "cause_columns": CAUSE_COLUMNS,
            "columns": GAP_COLUMNS,
            "page": page,
            "tabs": _cause_tabs(gap, cause),
        }
    return render_page(
        request, "monitoring/reconciliation.html", "monitoring/_reconciliation.html", context
    )


def _evidence_context(strategy: Strategy, verification: Verification) -> dict[str, Any]:
    found = performance_validator.examine(strategy.pk, at=now())
    expectation = Expectation.objects.filter(strategy=strategy, is_current=True).first()
    transitions = VerificationTransition.objects.filter(strategy=strategy)
    summary = expectation.summary if expectation is not None else {}
    scalars = summary.get("scalars", {})
    return {
        "strategy": strategy,
        "verification": verification,
        "checks": found.checks,
        "signals": found.signals,
        "signal_facts": signal_divergence.facts(found.signals),
        "charts": [draw(found) for draw in EXAMINED.values()],
        **_parts_context(found),
        "percentile": verification.metrics.get("percentile"),
        "expectation": expectation,
        "source": (expectation.walk_forward or expectation.run) if expectation else None,
        "scalars": scalars,
        "per_hundred": {
            name: 100 * scalars[key] if scalars.get(key) is not None else None
            for name, key in TRIP_RATES.items()
        },
        "regimes": summary.get("regimes", []),
        "regime_columns": REGIME_COLUMNS,
        "transitions": transitions.select_related("overridden_by")[:N_TRANSITIONS],
        "gates": lifecycle_gates.gates_to_live(strategy) if strategy.state == "paper" else [],
        "coverage": verification.coverage,
        "e_text": evidence_text(verification.e_value),
    }


def _parts_context(found: Examined) -> dict[str, Any]:
    return {"moved": live_parts.live_parts(found), "part_columns": PART_COLUMNS}


def _gap(strategy: Strategy) -> gap_ledger.ExplainedGap | None:
    try:
        return gap_ledger.explain(strategy)
    except NotEnoughData:
        return None


def _row(verification: Verification) -> dict[str, Any]:
    checks = verification.evidence.get("checks", [])
    return {
        "strategy": verification.strategy,
        "href": reverse("monitoring:verification-detail", args=[verification.strategy_id]),
        "pk": verification.strategy_id,
        "status": verification.status,
        "reason": verification.reason,
        "score": verification.score,
        "coverage": verification.coverage,
        "e_value": verification.e_value,
        "e_text": evidence_text(verification.e_value),
        "n_bars": verification.n_bars,
        "n_trades": verification.n_trades,
        "observed_to": verification.observed_to,
        "cells": {check["key"]: check_cell(check) for check in checks},
        "states": {check["key"]: check["state"] for check in checks},
        "values": {check["key"]: check["value"] for check in checks},
    }


def _counts(request: PageRequest, found: Any) -> list[tuple[str, str, bool, int]]:
    chosen = request.GET.get("status", "")
    rows = dict(found.values_list("status").annotate(n=Count("pk")))
    here = reverse("monitoring:verification")
    tabs = [("All", here, chosen == "", sum(rows.values()))]
    for value, label in VerificationStatus.choices:
        tabs.append((label, f"{here}?status={value}", chosen == value, rows.get(value, 0)))
    return tabs


def _cause_tabs(gap: gap_ledger.ExplainedGap, chosen: str) -> list[tuple[str, str, bool, int]]:
    counted: dict[str, int] = {}
    for entry in gap.entries:
        counted[entry.cause] = counted.get(entry.cause, 0) + 1
    tabs = [("All", "?", chosen == "", len(gap.entries))]
    for cause, n_fills in sorted(counted.items()):
        label = CAUSE_WORDS.get(cause, "No difference")
        tabs.append((label, f"?cause={cause}", chosen == cause, n_fills))
    return tabs


def _strategy(request: PageRequest, strategy_id: UUID) -> Strategy:
    found = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(found, pk=strategy_id)


def _back(request: PageRequest, strategy: Strategy) -> HttpResponse:
    return redirect("monitoring:verification-detail", strategy_id=strategy.pk)
