"""Entity tags: a client that already holds the answer gets 304 and no body."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response

SAFE_METHODS = frozenset({"GET", "HEAD"})


def entity_tag(*parts: Any) -> str:
    """Return the quoted tag of what `parts` identify, such as an id and its last change."""
    return _tag_of("\x1f".join(str(part) for part in parts).encode())


def not_modified(request: HttpRequest, *parts: Any) -> HttpResponse | None:
    """Return 304 where the client holds the version `parts` name, before computing anything.

    Otherwise return None and mark the coming response with the version's tag. An answer depends
    on who asks, so the user is always a part.
    """
    tag = entity_tag(request.user.pk, *parts)
    request.entity_tag = tag  # type: ignore[attr-defined]
    return get_conditional_response(request, etag=tag)


def with_entity_tag(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Tag a successful answer to a read, by its version or else its content; 304 if known."""
    if request.method not in SAFE_METHODS or response.status_code != 200:
        return response
    tag = getattr(request, "entity_tag", None) or _tag_of(response.content)
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-cache"
    return cast("HttpResponse", get_conditional_response(request, etag=tag, response=response))


def _tag_of(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
