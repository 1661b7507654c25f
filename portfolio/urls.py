"""Addresses of portfolios."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from portfolio import trading_urls
from portfolio.views import (
    allocation,
    correlation,
    performance,
    portfolios,
    rebalancing,
    risk,
)

app_name = "portfolio"
urlpatterns: list[URLPattern | URLResolver] = [
    *trading_urls.urlpatterns,
    path("portfolio/", allocation.allocation, name="portfolio"),
    path("portfolio/allocation/", allocation.allocation, name="allocation"),
    path("portfolio/allocation/optimise/", allocation.optimise, name="optimise"),
    path(
        "portfolio/allocation/<uuid:optimisation_id>/use/",
        allocation.use_weights,
        name="use-weights",
    ),
    path(
        "portfolio/allocation/<uuid:optimisation_id>/propose/",
        allocation.propose_weights,
        name="propose-weights",
    ),
    path(
        "portfolio/allocation/<uuid:optimisation_id>/charts/<slug:chart>/",
        allocation.allocation_chart,
        name="allocation-chart",
    ),
    path("portfolio/correlation/", correlation.correlation, name="correlation"),
    path(
        "portfolio/correlation/<uuid:first>/<uuid:second>/",
        correlation.correlation_pair,
        name="correlation-pair",
    ),
    path("portfolios/", portfolios.portfolio_list, name="portfolio-list"),
    path("portfolios/new/", portfolios.portfolio_new, name="portfolio-new"),
    path("portfolios/<uuid:portfolio_id>/edit/", portfolios.portfolio_edit, name="portfolio-edit"),
    path(
        "portfolios/<uuid:portfolio_id>/remove/",
        portfolios.portfolio_remove,
        name="portfolio-remove",
    ),
    path("portfolio/performance/", performance.portfolio_performance, name="performance"),
    path(
        "portfolio/performance/charts/<slug:chart>/",
        performance.performance_chart,
        name="performance-chart",
    ),
    path("portfolio/risk/", risk.portfolio_risk, name="risk"),
    path("portfolio/risk/tail/", risk.risk_tail, name="risk-tail"),
    path("portfolio/risk/beta/", risk.risk_beta, name="risk-beta"),
    path("portfolio/risk/limits/", risk.risk_limits, name="risk-limits"),
    path("portfolio/risk/trading/", risk.portfolio_trading_state, name="trading-state"),
    path(
        "portfolio/risk/trading/<uuid:strategy_id>/",
        risk.strategy_trading_state,
        name="strategy-trading-state",
    ),
    path("portfolio/risk/charts/<slug:chart>/", risk.risk_chart, name="risk-chart"),
    path("portfolio/rebalancing/", rebalancing.portfolio_rebalancing, name="rebalancing"),
    path("portfolio/rebalancing/new/", rebalancing.rebalance_new, name="rebalance-new"),
    path(
        "portfolio/rebalancing/triggers/",
        rebalancing.rebalancing_settings,
        name="rebalancing-settings",
    ),
    path(
        "portfolio/rebalancing/triggers/<slug:trigger>/",
        rebalancing.trigger_switch,
        name="trigger-switch",
    ),
    path(
        "portfolio/rebalancing/laboratory/",
        rebalancing.rebalancing_laboratory,
        name="rebalancing-laboratory",
    ),
    path(
        "portfolio/rebalancing/laboratory/chart/",
        rebalancing.laboratory_chart,
        name="laboratory-chart",
    ),
    path(
        "portfolio/rebalancing/<uuid:rebalance_id>/",
        rebalancing.rebalance_detail,
        name="rebalance-detail",
    ),
    path(
        "portfolio/rebalancing/<uuid:rebalance_id>/decide/",
        rebalancing.rebalance_decide,
        name="rebalance-decide",
    ),
]
