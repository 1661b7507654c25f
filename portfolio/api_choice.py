"""Which portfolio a call of the API is about."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Schema

from alphastrat.core.errors import NotEnoughData
from portfolio.models import Portfolio


class PortfolioChoice(Schema):
    """Which portfolio; the first of one's own where none is named."""

    portfolio: UUID | None = None


def chosen(request: HttpRequest, portfolio_id: UUID | None) -> Portfolio:
    """Return the portfolio that is named, or the first of the person's own."""
    user: Any = request.user
    visible = Portfolio.objects.for_user(user).select_related("owner")
    if portfolio_id is not None:
        return get_object_or_404(visible, pk=portfolio_id)
    found = visible.filter(owner=user).first() or visible.first()
    if found is None:
        raise NotEnoughData("There is no portfolio yet.", needed=1, available=0)
    return found
