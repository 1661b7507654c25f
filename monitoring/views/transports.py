"""Where alerts are sent: transports with their test, and the deliveries over them."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from alphastrat.core.access import Role, require_role, role_required
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from alphastrat.core.throttling import Rate, spend
from monitoring.models import Transport
from monitoring.services import transports
from monitoring.transport_forms import EXAMPLES, TransportForm

UNPROCESSABLE = 422
TESTS_PER_MINUTE = Rate(12)
COLUMNS = (
    Column("name", "Name"),
    Column("hint", "Goes to", format="code"),
    Column("minimum_severity", "From severity", format="status"),
    Column("is_enabled", "State"),
    Column("tested_at", "Last test"),
    Column("pk", "Action"),
)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def transport_list(request: PageRequest) -> HttpResponse:
    """List the user's transports and add one; `?validate` answers the form with its problems."""
    if request.method == "GET":
        return _page(request)
    require_role(request.user, Role.TRADER)
    form = TransportForm(request.POST, owner=request.user)
    if "validate" in request.GET:
        form.forgive_blanks()
        return _page(request, form=form, status=UNPROCESSABLE if form.errors else 200)
    if not form.is_valid():
        return _page(request, form=form, status=UNPROCESSABLE)
    transport, secret = transports.add_transport(request.user, form.draft())
    return _page(request, added=transport, secret=secret)


@role_required(Role.TRADER)
@never_cache
@require_http_methods(["GET", "POST"])
def transport_edit(request: PageRequest, transport_id: UUID) -> HttpResponseBase:
    """Change a transport; an empty address keeps the stored one."""
    transport = _transport(request, transport_id)
    form = TransportForm(request.POST or None, owner=transport.owner, transport=transport)
    is_draft = "validate" in request.GET
    if is_draft:
        form.forgive_blanks()
    if is_draft or not form.is_valid():
        status = UNPROCESSABLE if form.is_bound and form.errors else 200
        context = {"form": form, "transport": transport, "examples": EXAMPLES}
        return render_page(
            request,
            "monitoring/transport_edit.html",
            "monitoring/_transport_form.html",
            context,
            status,
        )
    transports.change_transport(transport, form.draft())
    messages.success(request, f"“{transport.name}” is saved.")
    return redirect("monitoring:transport-list")


@role_required(Role.TRADER)
@never_cache
@require_POST
def transport_act(request: PageRequest, transport_id: UUID, action: str) -> HttpResponse:
    """Test, rotate, switch on or off, or delete."""
    transport = _transport(request, transport_id)
    if action not in ACTIONS:
        raise Http404
    shown = ACTIONS[action](request, transport)
    if request.htmx or "secret" in shown:
        return _page(request, **shown)
    error = shown.get("error", "")
    said = shown.get("said") or error or f"“{transport.name}” accepted the test."
    messages.add_message(request, messages.ERROR if error else messages.SUCCESS, said)
    return redirect("monitoring:transport-list")


def _test(request: PageRequest, transport: Transport) -> dict[str, Any]:
    began = time.monotonic()
    wait = spend("transport-test", str(request.user.pk), TESTS_PER_MINUTE, at=time.time())
    if wait:
        return {"tested": transport, "error": f"Too many tests. Try again in {wait} seconds."}
    error = transports.send_test(transport, at=now())
    return {"tested": transport, "error": error, "took_seconds": time.monotonic() - began}


def _rotate(request: PageRequest, transport: Transport) -> dict[str, Any]:
    secret = transports.rotate_secret(transport, at=now())
    return {"added": transport, "secret": secret, "is_rotation": True}


def _on(request: PageRequest, transport: Transport) -> dict[str, Any]:
    transports.switch(transport, on=True, at=now())
    return {"said": f"“{transport.name}” gets messages from now on."}


def _off(request: PageRequest, transport: Transport) -> dict[str, Any]:
    transports.switch(transport, on=False, at=now())
    return {"said": f"“{transport.name}” gets no more messages."}


def _delete(request: PageRequest, transport: Transport) -> dict[str, Any]:
    name = transport.name
    transport.delete()
    return {"said": f"“{name}” and the record of its deliveries are deleted."}


ACTIONS = {"test": _test, "rotate": _rotate, "on": _on, "off": _off, "delete": _delete}


def _transport(request: PageRequest, transport_id: UUID) -> Transport:
    return get_object_or_404(Transport.objects.for_user(request.user), pk=transport_id)


def _page(request: PageRequest, *, status: int = 200, **shown: Any) -> HttpResponse:
    found = Transport.objects.for_user(request.user).select_related("owner")
    context = {
        "columns": COLUMNS,
        "rows": list(found),
        "examples": EXAMPLES,
        "can_write": request.user.has_role(Role.TRADER),
        "form": TransportForm(owner=request.user),
        **shown,
    }
    return render_page(
        request,
        "monitoring/transport_list.html",
        "monitoring/_transports.html",
        context,
        status,
    )
