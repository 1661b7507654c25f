"""Portfolios: listed, made, edited and removed."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from alphastrat.core import exports
from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, read_order
from portfolio.allocation_forms import PortfolioForm
from portfolio.models import Portfolio
from portfolio.services import portfolios

PER_PAGE = 50
COLUMNS = (
    Column("name", "Portfolio", sort="name", link="get_absolute_url"),
    Column("n_members", "Strategies", "count", sort="n_members"),
    Column("currency", "Currency"),
    Column("reserve", "Reserve", "money", sort="reserve"),
    Column("trading_state", "Trading", "status", sort="trading_state"),
    Column("updated_at", "Changed", "age", sort="updated_at"),
)
EXPORTS = tuple(
    Column(name, name)
    for name in ("id", "name", "n_members", "currency", "reserve", "trading_state", "updated_at")
)


@login_required
@require_GET
def portfolio_list(request: PageRequest) -> HttpResponseBase:
    order = read_order(request, COLUMNS, default="name")
    rows = (
        Portfolio.objects.for_user(request.user)
        .annotate(n_members=Count("members"))
        .order_by(order.query_value, "name")
    )
    if "format" in request.GET:
        return exports.table_response(rows, EXPORTS, name="portfolios", form=request.GET["format"])
    context = {
        "columns": COLUMNS,
        "order": order,
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(
        request, "portfolio/portfolio_list.html", "portfolio/_portfolio_list.html", context
    )


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def portfolio_new(request: PageRequest) -> HttpResponse:
    """Make a portfolio; `?validate` answers the form and makes nothing."""
    form = PortfolioForm(
        request.POST or None, strategies=portfolios.available_strategies(request.user)
    )
    action = reverse("portfolio:portfolio-new")
    if request.method == "GET" or "validate" in request.GET or not form.is_valid():
        return _form_page(request, form, None, action)
    try:
        made = portfolios.create_portfolio(request.user, form.draft(), at=now())
    except AlphaStratError as error:
        form.report(error)
        return _form_page(request, form, None, action)
    return _go(request, made.get_absolute_url())


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def portfolio_edit(request: PageRequest, portfolio_id: UUID) -> HttpResponse:
    """Change a portfolio and its members."""
    portfolio = _find(request, portfolio_id)
    form = PortfolioForm(
        request.POST or None,
        strategies=portfolios.available_strategies(portfolio.owner, portfolio=portfolio),
        portfolio=portfolio,
    )
    action = reverse("portfolio:portfolio-edit", args=[portfolio.pk])
    if request.method == "GET" or "validate" in request.GET or not form.is_valid():
        return _form_page(request, form, portfolio, action)
    try:
        portfolios.change_portfolio(portfolio, form.draft(), at=now())
    except AlphaStratError as error:
        form.report(error)
        return _form_page(request, form, portfolio, action)
    return _go(request, portfolio.get_absolute_url())


@role_required(Role.TRADER)
@require_POST
def portfolio_remove(request: PageRequest, portfolio_id: UUID) -> HttpResponse:
    portfolio = _find(request, portfolio_id)
    try:
        portfolios.remove_portfolio(portfolio)
    except AlphaStratError as error:
        messages.error(request, str(error))
        return redirect("portfolio:portfolio-edit", portfolio.pk)
    messages.success(request, f"Removed the portfolio {portfolio.name}.")
    return redirect("portfolio:portfolio-list")


def _find(request: PageRequest, portfolio_id: UUID) -> Portfolio:
    visible = Portfolio.objects.for_user(request.user).select_related("owner")
    return get_object_or_404(visible, pk=portfolio_id)


def _form_page(
    request: PageRequest, form: PortfolioForm, portfolio: Portfolio | None, action: str
) -> HttpResponse:
    is_wrong = form.is_bound and bool(form.errors) and "validate" not in request.GET
    context = {"form": form, "portfolio": portfolio, "action": action}
    return render_page(
        request,
        "portfolio/portfolio_form.html",
        "portfolio/_portfolio_form.html",
        context,
        status=422 if is_wrong else 200,
    )


def _go(request: PageRequest, url: str) -> HttpResponse:
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
