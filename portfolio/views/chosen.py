"""Which portfolio a page is about."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404

from alphastrat.core.http import PageRequest
from portfolio.models import Portfolio


def chosen_portfolio(request: PageRequest) -> Portfolio | None:
    """Return the portfolio that `?portfolio=` names, or the person's first; None without any.

    A portfolio of someone else answers 404. An administrator's own come first.
    """
    visible = Portfolio.objects.for_user(request.user).select_related("owner")
    wanted = request.POST.get("portfolio") or request.GET.get("portfolio")
    if wanted:
        try:
            return get_object_or_404(visible, pk=UUID(wanted))
        except ValueError as error:
            raise Http404("There is no such portfolio.") from error
    return visible.filter(owner=request.user).first() or visible.first()


def portfolio_choices(request: PageRequest) -> list[Portfolio]:
    """Return every portfolio the person may see, for the select at the top of a page."""
    return list(Portfolio.objects.for_user(request.user).only("pk", "name"))
