"""Threshold rules: list, form with preview, history, templates, export and import."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from alphastrat.core import live
from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import AlphaStratError, ConflictError
from alphastrat.core.http import PageRequest, render_page
from monitoring.models import ThresholdRule
from monitoring.models.alert import OPEN_STATES
from monitoring.rule_charts import preview_chart
from monitoring.rule_forms import RuleFilter, RuleForm, RuleImportForm
from monitoring.rule_tables import COLUMNS, rule_rows
from monitoring.services import rule_previews, rule_transfer, rules
from monitoring.services.rule_templates import TEMPLATES, apply_template
from strategies.models import Strategy


@login_required
@require_GET
def threshold_list(request: PageRequest) -> HttpResponseBase:
    """Show the rules, what they look at, and which replaces which."""
    topic = f"alerts:u{request.user.pk}"
    heads = live.heads(topic)
    form = RuleFilter(request.GET, user=request.user)
    everything = _rules(request)
    found = form.apply(everything)
    if request.GET.get("format") == "json":
        return _document(list(found))
    kept = list(found.annotate(n_open=Count("alerts", filter=Q(alerts__state__in=OPEN_STATES))))
    strategy: Strategy | None = form.cleaned_data.get("strategy") if form.is_valid() else None
    context = {
        "heads": heads,
        "form": form,
        "columns": COLUMNS,
        "rows": rule_rows(kept, everything=kept, strategy=strategy),
        "strategy": strategy,
        "templates": TEMPLATES.values(),
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(
        request, "monitoring/threshold_list.html", "monitoring/_threshold_results.html", context
    )


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def threshold_new(request: PageRequest) -> HttpResponse:
    """Ask for a rule; `?validate` answers the form with its problems."""
    if request.method == "GET":
        return _form_page(request, RuleForm(user=request.user, initial=_initial(request)))
    form = RuleForm(request.POST, user=request.user)
    if (page := _draft_page(request, form)) is not None:
        return page
    rule = rules.create_rule(form.instance)
    messages.success(request, f"“{rule.name}” is saved and evaluated from now on.")
    return _done(request, reverse("monitoring:threshold-list"))


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def threshold_edit(request: PageRequest, rule_id: UUID) -> HttpResponse:
    """Change a rule; its versions are listed below the form."""
    rule = _rule(request, rule_id)
    if request.method == "GET":
        return _form_page(request, RuleForm(instance=rule, user=rule.owner), rule)
    form = RuleForm(request.POST, instance=_rule(request, rule_id), user=rule.owner)
    if (page := _draft_page(request, form, rule)) is not None:
        return page
    try:
        rules.change_rule(
            rule.pk, form.cleaned_data, expected_version=form.cleaned_data["expected_version"]
        )
    except ConflictError as error:
        form.add_error(None, str(error))
        return _form_page(request, form, _rule(request, rule_id), status=409, conflict=True)
    messages.success(request, f"“{form.instance.name}” is saved.")
    return _done(request, reverse("monitoring:threshold-list"))


@role_required(Role.TRADER)
@require_POST
def threshold_preview(request: PageRequest) -> HttpResponse:
    """Answer when the rule in the form would have fired."""
    own = ThresholdRule.objects.for_user(request.user).select_related("owner")
    posted = request.POST.get("rule", "")
    rule = own.filter(pk=posted).first() if posted else None
    owner = rule.owner if rule else request.user
    form = RuleForm(request.POST, instance=rule, user=owner)
    context = _preview(form) if form.is_valid() else {}
    return render(request, "monitoring/_rule_preview.html", context)


@role_required(Role.TRADER)
@require_POST
def threshold_act(request: PageRequest, rule_id: UUID, action: str) -> HttpResponse:
    """Switch a rule on or off, put it back to an earlier version, or delete it."""
    rule = _rule(request, rule_id)
    posted = request.POST.get("version", "")
    version = int(posted) if posted.isdigit() else None
    try:
        match action:
            case "switch":
                changed = {"is_enabled": not rule.is_enabled}
                rule = rules.change_rule(rule.pk, changed, expected_version=version)
                word = "on" if rule.is_enabled else "off"
                messages.success(request, f"“{rule.name}” is {word}.")
            case "revert":
                entry = request.POST.get("entry", "")
                rules.revert(rule, int(entry) if entry.isdigit() else 0, expected_version=version)
                messages.success(request, f"“{rule.name}” is as it was before.")
                return redirect(rule)
            case "delete":
                rules.delete_rule(rule)
                messages.success(request, f"“{rule.name}” is deleted.")
            case _:
                return HttpResponse(status=404)
    except AlphaStratError as error:
        messages.error(request, str(error))
    return redirect("monitoring:threshold-list")


@role_required(Role.TRADER)
@require_POST
def threshold_template(request: PageRequest) -> HttpResponse:
    """Make the rules of a template."""
    try:
        made, n_left = apply_template(request.user, request.POST.get("template", ""))
    except AlphaStratError as error:
        messages.error(request, str(error))
    else:
        left = f"; {n_left} of the same name were left as they are" if n_left else ""
        messages.success(request, f"{len(made)} rules made{left}.")
    return redirect("monitoring:threshold-list")


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def threshold_import(request: PageRequest) -> HttpResponse:
    """Read rules from a document: first the difference, then, confirmed, the change."""
    page = "monitoring/threshold_import.html"
    if request.method == "GET":
        return render(request, page, {"form": RuleImportForm()})
    form = RuleImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return render(request, page, {"form": form}, status=422)
    text = form.cleaned_data["document"]
    try:
        lines = rule_transfer.read_document(request.user, text)
        if "confirm" in request.POST:
            n = rule_transfer.apply_lines(lines)
            messages.success(request, f"{n} rules imported.")
            return redirect("monitoring:threshold-list")
    except AlphaStratError as error:
        form.add_error("document", str(error))
        return render(request, page, {"form": form}, status=error.status)
    is_wrong = any(line.kind == "wrong" for line in lines)
    context = {"form": form, "lines": lines, "text": text, "is_wrong": is_wrong}
    return render(request, page, context)


def _rules(request: PageRequest) -> Any:
    return ThresholdRule.objects.for_user(request.user).select_related("strategy", "portfolio")


def _rule(request: PageRequest, rule_id: UUID) -> ThresholdRule:
    found: ThresholdRule = get_object_or_404(_rules(request).select_related("owner"), pk=rule_id)
    return found


def _initial(request: PageRequest) -> dict[str, Any]:
    initial: dict[str, Any] = {"metric": request.GET.get("metric", "drawdown")}
    if strategy := request.GET.get("strategy"):
        initial |= {"scope": "strategy", "strategy": strategy}
    return initial | {"comparator": "below", "cooldown_seconds": 3600, "pending_seconds": 0}


def _draft_page(
    request: PageRequest, form: RuleForm, rule: ThresholdRule | None = None
) -> HttpResponse | None:
    """Answer a form that is only being checked, or is wrong; None where it can be carried out."""
    is_draft = "validate" in request.GET
    is_valid = form.is_valid()
    if is_draft:
        form.touched_only()
        return _form_page(request, form, rule)
    if not is_valid:
        return _form_page(request, form, rule, status=422)
    if "preview" in request.POST:
        return _form_page(request, form, rule, tried=True)
    return None


def _preview(form: RuleForm) -> dict[str, Any]:
    tried = rule_previews.preview(form.instance, at=now())
    return {"preview": tried, "chart": preview_chart(form.instance, tried)}


def _form_page(
    request: PageRequest,
    form: RuleForm,
    rule: ThresholdRule | None = None,
    *,
    status: int = 200,
    tried: bool = False,
    conflict: bool = False,
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "rule": rule,
        "metric": form.chosen_metric,
        "versions": rules.history(rule) if rule is not None else [],
        "is_conflict": conflict,
        **(_preview(form) if tried else {}),
    }
    return render_page(
        request,
        "monitoring/threshold_form.html",
        "monitoring/_threshold_form.html",
        context,
        status=status,
    )


def _done(request: PageRequest, to: str) -> HttpResponse:
    return HttpResponseClientRedirect(to) if request.htmx else redirect(to)


def _document(found: list[ThresholdRule]) -> HttpResponse:
    text = json.dumps(rule_transfer.as_document(found), indent=2)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = 'attachment; filename="threshold-rules.json"'
    return response
