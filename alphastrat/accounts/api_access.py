"""Who may use the API: a token, or the session of a signed-in page, and what each may do."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.timezone import now
from ninja.errors import AuthenticationError, Throttled
from ninja.security import HttpBearer, SessionAuth
from ninja.utils import check_csrf

from alphastrat.accounts.audit import name_actor
from alphastrat.accounts.models import ApiToken, User
from alphastrat.core.access import Role, require_role
from alphastrat.core.clients import client_address
from alphastrat.core.throttling import Rate, spend

logger = logging.getLogger(__name__)

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class TokenAccess(HttpBearer):
    """`Authorization: Bearer as_…`; a header that does not hold a usable token is refused."""

    def __call__(self, request: HttpRequest) -> ApiToken | None:
        header = request.headers.get("Authorization")
        if not header:
            return None
        scheme, _, secret = header.strip().partition(" ")
        if scheme.lower() != self.openapi_scheme:
            raise AuthenticationError(message="Send the token as: Authorization: Bearer <token>.")
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, secret: str) -> ApiToken:
        at = now()
        token = ApiToken.objects.matching(secret, at=at)
        if token is None:
            slow_down_strangers(request)
            raise AuthenticationError(message="The token is unknown, expired or revoked.")
        require_write_access(request, token.user, token)
        token.touch(at=at)
        request.user = token.user
        name_actor(token.user)
        return token


class SessionAccess(SessionAuth):
    """The session of a signed-in page; writes must carry its CSRF token."""

    def __call__(self, request: HttpRequest) -> User | None:
        user = request.user
        if not isinstance(user, User):
            slow_down_strangers(request)
            return None
        if request.method not in READ_METHODS and check_csrf(request) is not None:
            raise PermissionDenied("The CSRF token is missing or wrong: send it as X-CSRFToken.")
        require_write_access(request, user)
        return user


def require_write_access(request: HttpRequest, user: User, token: ApiToken | None = None) -> None:
    """Refuse with 403 a write by a viewer, or with a token that may only read."""
    if request.method in READ_METHODS:
        return
    if token is not None and not token.may_write:
        raise PermissionDenied("This token may only read; create one with the read-write scope.")
    require_role(user, Role.TRADER)


def slow_down_strangers(request: HttpRequest) -> None:
    """Count a request without a usable identity against its address; 429 beyond the rate."""
    rate = Rate(settings.API_ANONYMOUS_CALLS_PER_MINUTE)
    wait = spend("api-anonymous", client_address(request), rate, at=time.time())
    if wait:
        raise Throttled(wait)
