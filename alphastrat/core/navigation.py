"""The navigation as data, and the context every page's shell needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject

from alphastrat.core.models import Job

TRAY_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Page:
    """A place in the navigation; it appears once its URL name exists."""

    label: str
    url_name: str
    icon: str
    is_for_staff: bool = False


GROUPS: tuple[tuple[str, tuple[Page, ...]], ...] = (
    (
        "Monitor",
        (
            Page("Overview", "monitoring:overview", "overview"),
            Page("Strategies", "strategies:strategy-list", "strategies"),
            Page("Signals", "strategies:signal-list", "signals"),
            Page("Alerts", "monitoring:alert-list", "alerts"),
            Page("Verification", "monitoring:verification", "verification"),
        ),
    ),
    (
        "Research",
        (
            Page("Backtests", "strategies:backtest-list", "backtests"),
            Page("Walk-forwards", "strategies:walk-forward-list", "performance"),
            Page("Sweeps", "strategies:sweep-list", "optimisations"),
            Page("Compare", "strategies:compare", "compare"),
            Page("Scanner", "strategies:scan-list", "scanner"),
            Page("Optimiser", "strategies:optimisation-list", "optimisations"),
            Page("Instruments", "marketdata:instrument-list", "instruments"),
            Page("Imports", "marketdata:import-list", "imports"),
        ),
    ),
    (
        "Portfolio",
        (
            Page("Allocation", "portfolio:allocation", "allocation"),
            Page("Correlation", "portfolio:correlation", "correlation"),
            Page("P&L", "portfolio:performance", "performance"),
            Page("Risk", "portfolio:risk", "risk"),
            Page("Rebalancing", "portfolio:rebalancing", "rebalancing"),
        ),
    ),
    (
        "Operate",
        (
            Page("Thresholds", "monitoring:threshold-list", "thresholds"),
            Page("Reports", "monitoring:report-list", "reports"),
            Page("Jobs", "core:job-list", "jobs"),
            Page("System", "monitoring:system", "system", is_for_staff=True),
        ),
    ),
)
# The bar at the bottom of a phone: the first page of each entry that exists.
BOTTOM: tuple[tuple[Page, ...], ...] = (
    (Page("Overview", "monitoring:overview", "overview"),),
    (
        Page("Strategies", "strategies:strategy-list", "strategies"),
        Page("Backtests", "strategies:backtest-list", "backtests"),
    ),
    (
        Page("Alerts", "monitoring:alert-list", "alerts"),
        Page("Instruments", "marketdata:instrument-list", "instruments"),
    ),
    (
        Page("Portfolio", "portfolio:allocation", "portfolio"),
        Page("Jobs", "core:job-list", "jobs"),
    ),
)


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the navigation and what the top bar shows."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    groups = [{"label": label, "entries": _entries(request, pages)} for label, pages in GROUPS]
    bottom = [_entries(request, pages)[:1] for pages in BOTTOM]
    return {
        "nav_groups": [group for group in groups if group["entries"]],
        "nav_bottom": [entry for entries in bottom for entry in entries],
        "running_jobs": SimpleLazyObject(partial(_running_jobs, user)),
        "can_write": user.has_role("trader"),
        "alert_row_url": address("monitoring:alert-row"),
        "build": settings.BUILD,
    }


def _entries(request: HttpRequest, pages: tuple[Page, ...]) -> list[dict[str, Any]]:
    is_staff = request.user.is_staff
    entries = (
        (page, address(page.url_name)) for page in pages if is_staff or not page.is_for_staff
    )
    return [
        {"label": page.label, "icon": page.icon, "url": url, "state": _state(request.path, url)}
        for page, url in entries
        if url
    ]


def address(url_name: str, *arguments: Any) -> str:
    """Return the address of a URL name, empty while no page has it."""
    try:
        return reverse(url_name, args=arguments)
    except NoReverseMatch:
        return ""


def _state(path: str, url: str) -> str:
    """Return the `aria-current` value: this page, a page below it, or nothing."""
    if path == url:
        return "page"
    return "true" if url != "/" and path.startswith(url) else ""


def _running_jobs(user: Any) -> list[str]:
    active = Job.objects.for_user(user).active()
    return [str(key) for key in active.values_list("pk", flat=True)[:TRAY_LIMIT]]
