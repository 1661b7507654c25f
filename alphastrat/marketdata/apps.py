from __future__ import annotations

from django.apps import AppConfig


class MarketdataConfig(AppConfig):
    name = "alphastrat.marketdata"
    label = "marketdata"
    verbose_name = "Market data"

    def ready(self) -> None:
        # Models can be imported only once every app is loaded.
        from auditlog.registry import auditlog

        from alphastrat.marketdata import receivers  # noqa: F401 - subscribes
        from alphastrat.marketdata.models import CorporateAction, Instrument

        auditlog.register(Instrument)
        auditlog.register(CorporateAction)
