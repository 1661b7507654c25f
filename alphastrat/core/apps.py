from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class CoreConfig(AppConfig):
    name = "alphastrat.core"
    label = "core"
    verbose_name = "Operations"

    def ready(self) -> None:
        if settings.SENTRY_DSN:
            import sentry_sdk

            sentry_sdk.init(settings.SENTRY_DSN, release=settings.BUILD, send_default_pii=False)
