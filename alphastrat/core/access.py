"""Who may do what: three roles, enforced on the server for pages, API and sockets."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

View = Callable[..., HttpResponseBase]


class Role(StrEnum):
    """What a user may do: look, work, or configure the installation."""

    VIEWER = "viewer"
    TRADER = "trader"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    @property
    def sees_everyone(self) -> bool:
        """Whether rows of other people are shown: to those who only look, and to administrators.

        A viewer is the observer of an installation; traders work side by side, each on their own.
        """
        return self is not Role.TRADER

    def covers(self, other: Role) -> bool:
        """Whether this role includes everything `other` may do."""
        return self.rank >= other.rank


def require_role(user: Any, role: Role) -> None:
    """Refuse with 403 unless `user` has `role`."""
    if not user.has_role(role):
        raise PermissionDenied(f"This needs the {role.value} role; yours is {user.role}.")


def role_required(role: Role) -> Callable[[View], View]:
    """View decorator: signed in, and with at least `role`."""

    def decorate(view: View) -> View:
        @wraps(view)
        @login_required
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            require_role(request.user, role)
            return view(request, *args, **kwargs)

        return checked

    return decorate
