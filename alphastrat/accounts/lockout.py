"""What someone sees who has guessed too often."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from axes.helpers import get_client_username, get_cool_off
from axes.models import AccessAttempt
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.timezone import now

from alphastrat.core.clients import client_address


def locked_out(
    request: HttpRequest,
    original_response: HttpResponse | None = None,
    credentials: dict[str, Any] | None = None,
) -> HttpResponse:
    """Answer 429 and say when to try again; called by django-axes."""
    at = now()
    username = get_client_username(request, credentials) or ""
    until = _locked_until(request, username, at=at)
    wait = max(1, math.ceil((until - at).total_seconds()))
    context = {
        "until": until,
        "minutes": math.ceil(wait / 60),
        "username": username,
        "login_url": reverse("accounts:login"),
    }
    response = render(request, "accounts/locked_out.html", context, status=429)
    response["Retry-After"] = str(wait)
    return response


def _locked_until(request: HttpRequest, username: str, *, at: datetime) -> datetime:
    attempts = AccessAttempt.objects.filter(
        username=username, ip_address=client_address(request) or None
    )
    newest = attempts.order_by("-attempt_time").first()
    cool_off: timedelta = get_cool_off(request)
    return (newest.attempt_time if newest else at) + cool_off
