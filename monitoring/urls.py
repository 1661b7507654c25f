"""Overview, system and metric definitions."""

from __future__ import annotations

from django.urls import path

from monitoring.views import metrics_help, overview, system

app_name = "monitoring"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("system/", system.system, name="system"),
    path("help/metrics/", metrics_help.metrics_help, name="metrics-help"),
]
