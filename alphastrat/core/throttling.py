"""How often someone may ask: counted per fixed window in the cache, forgiving when it is away."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

from django.core.cache import cache
from django.http import HttpRequest
from ninja.throttling import BaseThrottle


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` requests in each window of `seconds`."""

    limit: int
    seconds: int = 60


def spend(scope: str, ident: str, rate: Rate, *, at: float) -> int:
    """Count one request and return the seconds to wait; 0 while within the rate.

    A cache that is away allows the request: lock-out of logins is kept in the database.
    """
    window = int(at // rate.seconds)
    key = f"throttle:{scope}:{ident}:{window}"
    is_first = cache.add(key, 1, timeout=2 * rate.seconds)
    if is_first is None or is_first:
        return 0
    try:
        n_requests = cache.incr(key)
    except ValueError:
        return 0
    if n_requests is None or n_requests <= rate.limit:
        return 0
    return math.ceil((window + 1) * rate.seconds - at)


class UserThrottle(BaseThrottle):
    """Refuse with 429 a user who asks more often than `rate`, over all sessions and tokens."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        # ninja asks for the wait afterwards, of an object that all threads share.
        self._thread = threading.local()

    def allow_request(self, request: HttpRequest) -> bool:
        wait = spend("api-user", str(request.user.pk), self.rate, at=time.time())
        self._thread.wait = wait
        return wait == 0

    def wait(self) -> float | None:
        return float(self._thread.wait)
