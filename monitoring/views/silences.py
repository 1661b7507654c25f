"""Silences and maintenance windows: what mutes messages, and until when."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django.views.decorators.http import require_http_methods, require_POST

from alphastrat.core.access import Role, require_role, role_required
from alphastrat.core.http import PageRequest, render_page
from monitoring.alert_forms import SilenceForm
from monitoring.models import Silence
from monitoring.services import silences
from monitoring.silence_tables import COLUMNS, silence_rows

N_SHOWN = 100


@login_required
@require_http_methods(["GET", "POST"])
def silence_list(request: PageRequest) -> HttpResponse:
    """Show silences and add one."""
    at = now()
    form = SilenceForm(request.POST or None, user=request.user, at=at)
    status = 200
    if request.method == "POST":
        require_role(request.user, Role.TRADER)
        if form.is_valid():
            silences.begin(request.user, form.instance, form.matchers())
            messages.success(request, "Messages are muted in that time; evaluation goes on.")
            return redirect("monitoring:silence-list")
        status = 422
    found = Silence.objects.for_user(request.user).select_related("owner")[:N_SHOWN]
    context = {
        "form": form,
        "columns": COLUMNS,
        "rows": silence_rows(found, request.user, at=at),
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(
        request,
        "monitoring/silence_list.html",
        "monitoring/_silences.html",
        context,
        status=status,
    )


@role_required(Role.TRADER)
@require_POST
def silence_end(request: PageRequest, silence_id: UUID) -> HttpResponse:
    """End a silence now, or take back one that has not begun."""
    silence = get_object_or_404(Silence.objects.for_user(request.user), pk=silence_id)
    silences.end(silence, at=now())
    messages.success(request, "The silence is over.")
    return redirect("monitoring:silence-list")
