"""The page of strategy types: those that can be used, and files of users that cannot, and why."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from strategies.services import plugins


@login_required
@require_GET
def plugin_list(request: HttpRequest) -> HttpResponse:
    """Show every plug-in and every file that was rejected."""
    context = {
        "plugins": plugins.known(),
        "rejected": plugins.rejected(),
        "folder": settings.PLUGIN_DIR,
    }
    return render(request, "strategies/plugin_list.html", context)
