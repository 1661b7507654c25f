"""What was sent, what waits, what was muted and why, and what was given up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_POST

from alphastrat.core import exports
from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import ConflictError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from monitoring.models import Notification
from monitoring.services.notifications import send_dead_again
from monitoring.transport_forms import STATUS_BADGES, DeliveryFilter

PER_PAGE = 50
COLUMNS = (
    Column("title", "Message"),
    Column("transport.name", "Over"),
    Column("status", "State", format="status"),
    Column("error", "Why"),
    Column("stored_at", "Queued", format="time"),
    Column("accepted_at", "Accepted", format="time"),
    Column("delay", "Took", format="duration"),
    Column("attempts", "Attempts", format="count"),
    Column("pk", "Action"),
)
EXPORTS = tuple(
    Column(key, key)
    for key in (
        "key",
        "title",
        "transport.name",
        "status",
        "attempts",
        "alert.breached_at",
        "alert.evaluated_at",
        "stored_at",
        "sent_at",
        "accepted_at",
        "mute_reason",
        "error",
    )
)


@login_required
@require_GET
def delivery_list(request: PageRequest) -> HttpResponseBase:
    """List messages, newest first."""
    form = DeliveryFilter(request.GET, user=request.user)
    own = Notification.objects.for_user(request.user)
    found = form.apply(own).listed().order_by("-queued_at", "pk")
    if "format" in request.GET:
        return exports.table_response(found, EXPORTS, name="deliveries", form=request.GET["format"])
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "at": now(),
        "form": form,
        "columns": COLUMNS,
        "page": page,
        "rows": [_row(notification) for notification in page],
        "n_dead": own.dead().count(),
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(
        request, "monitoring/delivery_list.html", "monitoring/_delivery_results.html", context
    )


@role_required(Role.TRADER)
@require_POST
def delivery_retry(request: PageRequest, notification_id: UUID) -> HttpResponse:
    """Queue one message that was given up."""
    own = Notification.objects.for_user(request.user).filter(pk=notification_id)
    get_object_or_404(own)
    if not send_dead_again(own, at=now()):
        raise ConflictError("This message is not given up: it was sent, or is on its way.")
    messages.success(request, "The message is on its way again, with the same key.")
    return redirect("monitoring:delivery-list")


@role_required(Role.TRADER)
@require_POST
def delivery_retry_all(request: PageRequest) -> HttpResponse:
    """Queue everything that was given up."""
    n_queued = send_dead_again(Notification.objects.for_user(request.user), at=now())
    messages.success(request, f"{n_queued} messages are on their way again.")
    return redirect("monitoring:delivery-list")


def _row(notification: Notification) -> dict[str, Any]:
    return {
        "notification": notification,
        "badge": STATUS_BADGES[Notification.Status(notification.status)],
        "can_retry": notification.status == Notification.Status.DEAD,
    }
