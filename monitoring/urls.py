"""Overview, system and metric definitions."""

from __future__ import annotations

from django.urls import path

from monitoring.views import alerts, metrics_help, overview, silences, system, thresholds

app_name = "monitoring"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("system/", system.system, name="system"),
    path("help/metrics/", metrics_help.metrics_help, name="metrics-help"),
    path("alerts/", alerts.alert_list, name="alert-list"),
    path("alerts/row/", alerts.alert_banner_row, name="alert-row"),
    path("alerts/bulk/", alerts.alert_bulk, name="alert-bulk"),
    path("alerts/silences/", silences.silence_list, name="silence-list"),
    path("alerts/silences/<uuid:silence_id>/end/", silences.silence_end, name="silence-end"),
    path("alerts/<uuid:alert_id>/", alerts.alert_detail, name="alert-detail"),
    path("alerts/<uuid:alert_id>/chart/", alerts.alert_chart, name="alert-chart"),
    path("alerts/<uuid:alert_id>/<slug:action>/", alerts.alert_act, name="alert-act"),
    path("thresholds/", thresholds.threshold_list, name="threshold-list"),
    path("thresholds/new/", thresholds.threshold_new, name="threshold-new"),
    path("thresholds/preview/", thresholds.threshold_preview, name="threshold-preview"),
    path("thresholds/template/", thresholds.threshold_template, name="threshold-template"),
    path("thresholds/import/", thresholds.threshold_import, name="threshold-import"),
    path("thresholds/<uuid:rule_id>/", thresholds.threshold_edit, name="threshold-edit"),
    path(
        "thresholds/<uuid:rule_id>/<slug:action>/", thresholds.threshold_act, name="threshold-act"
    ),
]
