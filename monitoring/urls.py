"""Overview, system and metric definitions."""

from __future__ import annotations

from django.urls import path

from monitoring.views import (
    alerts,
    deliveries,
    metrics_help,
    overview,
    silences,
    strategy_watch,
    system,
    thresholds,
    transports,
    verification,
)

app_name = "monitoring"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("performance/", overview.overview_performance, name="overview-performance"),
    path("system/", system.system, name="system"),
    path("help/metrics/", metrics_help.metrics_help, name="metrics-help"),
    path("alerts/", alerts.alert_list, name="alert-list"),
    path("alerts/row/", alerts.alert_banner_row, name="alert-row"),
    path("alerts/bulk/", alerts.alert_bulk, name="alert-bulk"),
    path("alerts/silences/", silences.silence_list, name="silence-list"),
    path("alerts/silences/<uuid:silence_id>/end/", silences.silence_end, name="silence-end"),
    path("alerts/deliveries/", deliveries.delivery_list, name="delivery-list"),
    path("alerts/deliveries/retry/", deliveries.delivery_retry_all, name="delivery-retry-all"),
    path(
        "alerts/deliveries/<uuid:notification_id>/retry/",
        deliveries.delivery_retry,
        name="delivery-retry",
    ),
    path("settings/transports/", transports.transport_list, name="transport-list"),
    path(
        "settings/transports/<uuid:transport_id>/", transports.transport_edit, name="transport-edit"
    ),
    path(
        "settings/transports/<uuid:transport_id>/<slug:action>/",
        transports.transport_act,
        name="transport-act",
    ),
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
    path("verification/", verification.verification_list, name="verification"),
    path(
        "verification/<uuid:strategy_id>/",
        verification.verification_detail,
        name="verification-detail",
    ),
    path(
        "verification/<uuid:strategy_id>/summary/",
        verification.verification_summary,
        name="verification-summary",
    ),
    path(
        "verification/<uuid:strategy_id>/charts/<slug:chart>/",
        verification.verification_chart,
        name="verification-chart",
    ),
    path(
        "verification/<uuid:strategy_id>/delays/",
        verification.verification_delays,
        name="verification-delays",
    ),
    path(
        "verification/<uuid:strategy_id>/settings/",
        verification.verification_settings,
        name="verification-settings",
    ),
    path(
        "verification/<uuid:strategy_id>/verify/",
        verification.verification_verify,
        name="verification-verify",
    ),
    path(
        "verification/<uuid:strategy_id>/freeze/",
        verification.verification_freeze,
        name="verification-freeze",
    ),
    path(
        "verification/<uuid:strategy_id>/acknowledge/",
        verification.verification_acknowledge,
        name="verification-acknowledge",
    ),
    path(
        "verification/<uuid:strategy_id>/overrule/",
        verification.verification_overrule,
        name="verification-overrule",
    ),
    path(
        "strategies/<uuid:strategy_id>/watch/",
        strategy_watch.strategy_watch,
        name="strategy-watch",
    ),
    path(
        "strategies/<uuid:strategy_id>/reconciliation/",
        verification.reconciliation,
        name="reconciliation",
    ),
]
