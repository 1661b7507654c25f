"""Who changed which setting, when and from where: django-auditlog, told what it may see."""

from __future__ import annotations

from auditlog.context import auditlog_value
from auditlog.middleware import AuditlogMiddleware
from auditlog.registry import auditlog
from django.http import HttpRequest

from alphastrat.accounts.models import ApiToken, User
from alphastrat.core.clients import client_address


class AuditMiddleware(AuditlogMiddleware):  # type: ignore[misc]
    """Record the signed-in user and the address that we know, not one the client claims."""

    @staticmethod
    def _get_remote_addr(request: HttpRequest) -> str | None:
        return client_address(request) or None

    @staticmethod
    def _get_remote_port(request: HttpRequest) -> int | None:
        return None


def name_actor(user: User) -> None:
    """Attribute the changes of this request to `user`, who came with a token."""
    context = auditlog_value.get(None)
    if context is not None:
        context["actor"] = user


def register_models() -> None:
    """Record changes of people and tokens; never what proves who they are."""
    auditlog.register(User, exclude_fields=["password", "last_login"])
    auditlog.register(ApiToken, exclude_fields=["digest", "last_used_at"])
