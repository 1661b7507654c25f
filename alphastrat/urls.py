"""Every URL of the product."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from alphastrat.api import api

urlpatterns = [
    path("", include("monitoring.urls")),
    path("", include("alphastrat.core.urls")),
    path("", include("alphastrat.accounts.urls")),
    path("", include("alphastrat.marketdata.urls")),
    path("", include("strategies.urls")),
    path("", include("portfolio.urls")),
    path("api/v1/", api.urls),
    path("admin/", admin.site.urls),
]

handler400 = "alphastrat.core.views.bad_request"
handler403 = "alphastrat.core.views.permission_denied"
handler404 = "alphastrat.core.views.page_not_found"
handler500 = "alphastrat.core.views.server_error"
