"""Every request has an id in the log; expected failures become clear answers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from zoneinfo import ZoneInfo

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from alphastrat.core.errors import AlphaStratError

logger = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]


class RequestContextMiddleware:
    """Bind the request's id and user to the log, and the user's time zone to the page."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex[:12]
        request.id = request_id  # type: ignore[attr-defined]
        user = request.user
        structlog.contextvars.bind_contextvars(request=request_id)
        timezone.activate(ZoneInfo(user.timezone) if user.is_authenticated else ZoneInfo("UTC"))
        try:
            response = self.get_response(request)
        finally:
            timezone.deactivate()
            structlog.contextvars.clear_contextvars()
        response["X-Request-ID"] = request_id
        return response


class ExpectedErrorMiddleware:
    """Show an AlphaStratError raised by a page as a page, or as a fragment to htmx."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, AlphaStratError):
            return None
        logger.info("request refused", extra={"code": error.code})
        htmx = getattr(request, "htmx", None)
        template = "components/_error.html" if htmx else "error.html"
        return render(request, template, {"error": error}, status=error.status)
