"""Who may open the live socket: a page by its session, a program by a token.

A browser sends its cookies from any page, so that a session counts only with an origin of ours. A
token is sent on purpose and needs none; programs have no origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class SocketAccess:
    """Sends a handshake with `Authorization: Bearer …` to `programs`, any other to `pages`."""

    def __init__(self, *, pages: Application, programs: Application) -> None:
        self._pages = pages
        self._programs = programs

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        header = dict(scope.get("headers", [])).get(b"authorization", b"")
        if not header:
            await self._pages(scope, receive, send)
            return
        user = await database_sync_to_async(_owner)(header.decode("latin-1"))
        await self._programs({**scope, "user": user}, receive, send)


def _owner(header: str) -> Any:
    """Return whose token the header holds; nobody for one that is unknown, expired or revoked."""
    scheme, _, secret = header.strip().partition(" ")
    at = now()
    token = ApiToken.objects.matching(secret.strip(), at=at) if scheme.lower() == "bearer" else None
    if token is None:
        return AnonymousUser()
    token.touch(at=at)
    return token.user
