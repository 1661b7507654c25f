"""Addresses of accounts and their fills."""

from __future__ import annotations

from django.urls import path

from portfolio.views import accounts, fills

urlpatterns = [
    path("accounts/<uuid:account_id>/", accounts.account_detail, name="account-detail"),
    path("accounts/<uuid:account_id>/fills/", accounts.account_fills, name="account-fills"),
    path("accounts/<uuid:account_id>/equity/", accounts.account_chart, name="account-chart"),
    path("accounts/<uuid:account_id>/key/", accounts.account_key, name="account-key"),
    path("accounts/<uuid:account_id>/import/", fills.fill_import, name="fill-import"),
    path(
        "accounts/<uuid:account_id>/reconcile/",
        accounts.account_reconcile,
        name="account-reconcile",
    ),
    path(
        "accounts/<uuid:account_id>/differences/<uuid:difference_id>/accept/",
        accounts.difference_accept,
        name="difference-accept",
    ),
    path(
        "strategies/<uuid:strategy_id>/account/",
        accounts.strategy_account,
        name="strategy-account",
    ),
    path(
        "strategies/<uuid:strategy_id>/account/new/",
        accounts.account_new,
        name="account-new",
    ),
]
