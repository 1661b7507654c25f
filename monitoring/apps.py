from __future__ import annotations

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        # Models can be imported only once every app is loaded.
        from auditlog.registry import auditlog

        from alphastrat.core.doctor import add_check
        from monitoring import (  # noqa: F401
            alert_metrics,
            alert_receivers,
            doctor,
            metrics,
            standing_receivers,
            verification_receivers,
            verification_tasks,
        )
        from monitoring.models import Silence, ThresholdRule, Transport
        from monitoring.services import lifecycle_gates
        from monitoring.verification_column import VerificationAddition
        from strategies.services import lifecycle
        from strategies.services.table_additions import OF_STRATEGIES

        lifecycle.add_gate(lifecycle_gates.check_move)
        OF_STRATEGIES.register(VerificationAddition())

        # Whole versions are kept, so that a rule can be put back to any of them.
        auditlog.register(
            ThresholdRule, serialize_data=True, exclude_fields=["created_at", "updated_at"]
        )
        auditlog.register(Silence)
        # What was changed is said, never to what: the values are secrets even when encrypted.
        secret = ["address", "signing_key", "previous_signing_key", "tested_at", "test_error"]
        auditlog.register(Transport, exclude_fields=["updated_at", *secret])
        add_check(doctor.transport_credentials)
        add_check(doctor.deliveries)
        metrics.register()
        alert_metrics.register()
