"""JSON API of the user behind a request."""

from __future__ import annotations

from datetime import datetime

from ninja import Router, Schema

from alphastrat.accounts.models import ApiToken
from alphastrat.core.access import Role
from alphastrat.core.http import ApiRequest

router = Router(tags=["accounts"])


class TokenOut(Schema):
    name: str
    scope: ApiToken.Scope
    expires_at: datetime | None


class MeOut(Schema):
    """The user behind the request, and the token it came with."""

    username: str
    role: Role
    timezone: str
    may_write: bool
    token: TokenOut | None


@router.get("", response=MeOut, url_name="me")
def me(request: ApiRequest) -> MeOut:
    """Show who the API takes you for and what you may do."""
    user = request.user
    token = request.auth if isinstance(request.auth, ApiToken) else None
    can_write = user.has_role(Role.TRADER) and (token is None or token.may_write)
    return MeOut(
        username=user.username,
        role=Role(user.role),
        timezone=user.timezone,
        may_write=can_write,
        token=TokenOut.model_validate(token) if token else None,
    )
