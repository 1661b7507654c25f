"""The JSON API: one instance, one router per app, one way in, one error shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from ninja.errors import HttpError

from alphastrat.accounts.api import router as accounts_router
from alphastrat.accounts.api_access import SessionAccess, TokenAccess
from alphastrat.core.api import router as jobs_router
from alphastrat.core.api_root import ProductApi
from alphastrat.core.throttling import Rate, UserThrottle
from alphastrat.marketdata.api import router as marketdata_router
from monitoring.alerts_api import router as alerts_router
from monitoring.alerts_api import silences_router
from monitoring.rules_api import router as rules_router
from monitoring.transports_api import deliveries_router, transports_router
from monitoring.verification_api import router as verification_router
from portfolio.allocation_api import portfolios_router
from portfolio.allocation_api import router as allocation_router
from portfolio.fills_api import accounts_router as trading_accounts_router
from portfolio.fills_api import router as trading_router
from portfolio.performance_api import router as performance_router
from portfolio.rebalancing_api import router as rebalancing_router
from portfolio.risk_api import router as risk_router
from strategies.api import plugins_router
from strategies.api import router as backtests_router
from strategies.compare_api import router as compare_router
from strategies.imports_api import router as result_imports_router
from strategies.indicator_api import router as indicators_router
from strategies.search_api import sweeps_router, walk_forwards_router
from strategies.strategies_api import router as strategies_router

DESCRIPTION = """
Sign in and try it here, or send `Authorization: Bearer <token>` with a token from your settings
page. Reading needs the viewer role; everything else the trader role and a read-write token.
Times are ISO 8601 in UTC, returns and weights are fractions, losses are negative, and a number
that is undefined is null. Work is answered with 202 and a job to follow.
"""


def documented(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Show the description to anyone who may use the API."""
    for_people = login_required(view)
    token_access = TokenAccess()

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.headers.get("Authorization"):
            return for_people(request, *args, **kwargs)
        try:
            token_access(request)
        except (HttpError, PermissionDenied) as error:
            return api.on_exception(request, error)
        return view(request, *args, **kwargs)

    return checked


api = ProductApi(
    title="AlphaStrat",
    version="1",
    description=DESCRIPTION,
    docs_decorator=documented,
    auth=[TokenAccess(), SessionAccess()],
    throttle=[UserThrottle(Rate(settings.API_CALLS_PER_MINUTE))],
)
api.add_router("/me", accounts_router)
api.add_router("/jobs", jobs_router)
api.add_router("", marketdata_router)
api.add_router("", indicators_router)
api.add_router("/plugins", plugins_router)
api.add_router("/backtests/imports", result_imports_router)
api.add_router("/backtests", backtests_router)
api.add_router("/compare", compare_router)
api.add_router("", verification_router)
api.add_router("/strategies", strategies_router)
api.add_router("/strategies", trading_router)
api.add_router("/accounts", trading_accounts_router)
api.add_router("/walk-forwards", walk_forwards_router)
api.add_router("/sweeps", sweeps_router)
api.add_router("/alerts", alerts_router)
api.add_router("/silences", silences_router)
api.add_router("/rules", rules_router)
api.add_router("/transports", transports_router)
api.add_router("/deliveries", deliveries_router)
api.add_router("/portfolio", allocation_router)
api.add_router("/portfolios", portfolios_router)
api.add_router("/portfolio", performance_router)
api.add_router("/portfolio", risk_router)
api.add_router("/portfolio", rebalancing_router)
