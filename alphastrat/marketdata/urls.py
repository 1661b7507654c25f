"""Instruments and imports."""

from __future__ import annotations

from django.urls import path

from alphastrat.marketdata.views import imports, instruments

app_name = "marketdata"
urlpatterns = [
    path("instruments/", instruments.instrument_list, name="instrument-list"),
    path("instruments/<str:symbol>/", instruments.instrument_detail, name="instrument-detail"),
    path(
        "instruments/<str:symbol>/chart.json", instruments.instrument_chart, name="instrument-chart"
    ),
    path("imports/", imports.import_list, name="import-list"),
    path("imports/<uuid:import_id>/", imports.import_detail, name="import-detail"),
]
