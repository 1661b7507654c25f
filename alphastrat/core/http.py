"""Requests and responses shared by every page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails


class PageRequest(HttpRequest):
    """A signed-in request that has passed through HtmxMiddleware."""

    user: Any
    htmx: HtmxDetails


class ApiRequest(HttpRequest):
    """A request to the API that has shown who it comes from: by session, or by token."""

    user: Any
    auth: Any


def render_page(
    request: HttpRequest,
    page: str,
    fragment: str,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """Render `fragment` for an htmx request and the whole `page` otherwise."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    partial = bool(htmx) and not htmx.boosted
    response = render(request, fragment if partial else page, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
