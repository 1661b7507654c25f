"""The inbox of alerts, one alert with its evidence, and what people do about them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from alphastrat.core import exports, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import AlphaStratError, ConflictError, InvalidInput
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import read_order
from monitoring import alert_charts
from monitoring.alert_forms import TABS, AlertFilter, SnoozeForm, Tab
from monitoring.alert_tables import (
    COLUMNS,
    DELIVERY_COLUMNS,
    EXPORTS,
    SIGNAL_COLUMNS,
    alert_row,
    alert_rows,
    with_delivery,
)
from monitoring.models import Alert
from monitoring.services import alert_actions, alert_evidence

ALERTS_PER_PAGE = 50
LEVELS = {"critical": "error", "warning": "warning", "info": "info"}


@login_required
@require_GET
def alert_list(request: PageRequest) -> HttpResponseBase:
    """Show the inbox, made to be left open all day."""
    topic = f"alerts:u{request.user.pk}"
    heads = live.heads(topic)
    at = now()
    form = AlertFilter(request.GET)
    tab = request.GET.get("state", Tab.FIRING)
    tab = tab if tab in TABS else Tab.FIRING
    found = form.apply(Alert.objects.for_user(request.user))
    order = read_order(request, COLUMNS, default="-breached_at")
    chosen = with_delivery(found.filter(TABS[tab]).listed()).order_by(order.query_value, "pk")
    if "format" in request.GET:
        return exports.table_response(chosen, EXPORTS, name="alerts", form=request.GET["format"])
    page = Paginator(chosen, ALERTS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "at": at,
        "heads": heads,
        "form": form,
        "tab": tab,
        "tabs": _tabs(request, found, tab),
        "columns": COLUMNS,
        "order": order,
        "page": page,
        "rows": alert_rows(page, at=at),
        "snoozes": SnoozeForm().fields["seconds"].choices[1:],  # type: ignore[attr-defined]
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(
        request, "monitoring/alert_list.html", "monitoring/_alert_results.html", context
    )


@login_required
@require_GET
def alert_banner_row(request: PageRequest) -> HttpResponse:
    """Answer the row under the top bar: the newest alert that nobody has."""
    at = now()
    waiting = Alert.objects.for_user(request.user).filter(TABS[Tab.FIRING]).listed()
    alerts = [alert for alert in waiting.order_by("-fired_at") if not alert.is_snoozed(at=at)]
    context = {
        "alert": alerts[0] if alerts else None,
        "level": LEVELS[alerts[0].severity] if alerts else "",
        "n_more": len(alerts) - 1,
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render(request, "monitoring/_alert_banner.html", context)


@login_required
@require_GET
def alert_detail(request: PageRequest, alert_id: UUID) -> HttpResponse:
    """Show one alert: what happened, when, who was told, and what lies behind it."""
    topic = f"alerts:u{request.user.pk}"
    heads = live.heads(topic)
    at = now()
    alert = _alert(request, alert_id)
    chart = alert_charts.around_breach(alert, at=at)
    context = {
        "at": at,
        "heads": heads,
        "alert": alert,
        "row": alert_row(alert, at=at),
        "chart": chart,
        "timeline": alert_evidence.timeline(alert),
        "deliveries": alert_evidence.deliveries(alert),
        "delivery_columns": DELIVERY_COLUMNS,
        "signals": alert_evidence.related_signals(alert),
        "signal_columns": SIGNAL_COLUMNS,
        "others": alert_evidence.others_of_group(alert, request.user),
        "snooze": SnoozeForm(alert=alert, prefix="snooze"),
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(request, "monitoring/alert_detail.html", "monitoring/_alert.html", context)


@login_required
@require_GET
def alert_chart(request: PageRequest, alert_id: UUID) -> HttpResponseBase:
    """Answer the figure of the metric around the breach."""
    chart = alert_charts.around_breach(_alert(request, alert_id), at=now())
    if chart is None:
        raise Http404
    if "format" in request.GET:
        return alert_charts.numbers_response(chart, form=request.GET["format"])
    return figure_response(chart.draw())


@role_required(Role.TRADER)
@require_POST
def alert_act(request: PageRequest, alert_id: UUID, action: str) -> HttpResponse:
    """Do something about one alert."""
    alert = _alert(request, alert_id)
    try:
        changed = _do(request, action, [alert.pk], alert)
        if not changed and action == "acknowledge":
            raise ConflictError("Somebody has this alert already, or it is over.")
    except AlphaStratError as error:
        return _refused(request, error, alert)
    return _done(request, alert.get_absolute_url())


@role_required(Role.TRADER)
@require_POST
def alert_bulk(request: PageRequest) -> HttpResponse:
    """Do something about the alerts that were ticked."""
    try:
        ids = [UUID(value) for value in request.POST.getlist("alert")]
        if not ids:
            raise InvalidInput("Tick at least one alert.")
        changed = _do(request, request.POST.get("action", ""), ids, None)
    except ValueError:
        return _refused(request, InvalidInput("There is no such alert."), None)
    except AlphaStratError as error:
        return _refused(request, error, None)
    n = len(changed)
    messages.success(request, f"{n} alert{'' if n == 1 else 's'} changed.")
    return _done(request, reverse("monitoring:alert-list"))


def _do(request: PageRequest, action: str, ids: list[UUID], alert: Alert | None) -> list[Alert]:
    at, by, posted = now(), request.user, request.POST
    comment = posted.get("comment", "").strip()
    match action:
        case "acknowledge":
            return alert_actions.acknowledge(ids, by=by, at=at, comment=comment)
        case "comment":
            return alert_actions.add_comment(ids, by=by, at=at, comment=comment)
        case "snooze":
            form = SnoozeForm(posted, alert=alert, prefix="snooze")
            if not form.is_valid():
                raise InvalidInput(str(next(iter(form.errors.values()))[0]))
            return alert_actions.snooze(ids, by=by, at=at, **form.choice(at=at))
        case "wake":
            return alert_actions.wake(ids, by=by, at=at)
        case "resolve":
            return alert_actions.resolve(ids, by=by, at=at, comment=comment)
        case "feedback":
            feedback = posted.get("feedback", "")
            return alert_actions.give_feedback(ids, by=by, at=at, feedback=feedback)
    raise Http404


def _alert(request: PageRequest, alert_id: UUID) -> Alert:
    found = with_delivery(Alert.objects.for_user(request.user).listed())
    return get_object_or_404(found, pk=alert_id)


def _tabs(request: PageRequest, found: Any, tab: str) -> list[tuple[str, str, bool, int]]:
    counts = found.aggregate(**{name: Count("pk", filter=where) for name, where in TABS.items()})
    query = request.GET.copy()
    entries = []
    for one in Tab:
        query["state"] = one.value
        query.pop("page", None)
        entries.append((one.label, f"?{query.urlencode()}", one == tab, counts[one.value]))
    return entries


def _done(request: PageRequest, default: str) -> HttpResponse:
    if request.htmx:
        # The page asks for its own content anew, with its own filters.
        return trigger_client_event(HttpResponse(status=204), "alerts:refresh")
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()})
    return redirect(wanted if is_ours else default)


def _refused(request: PageRequest, error: AlphaStratError, alert: Alert | None) -> HttpResponse:
    if request.htmx:
        response = HttpResponse(status=204)
        trigger_client_event(response, "announce-error", {"text": str(error)})
        return trigger_client_event(response, "alerts:refresh")
    messages.error(request, str(error))
    return redirect(alert or reverse("monitoring:alert-list"))
