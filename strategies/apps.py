"""The research app: strategies, signals and backtests."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class StrategiesConfig(AppConfig):
    """Publishes the built-in plug-ins and subscribes to domain events."""

    name = "strategies"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported only once every app is loaded.
        from auditlog.registry import auditlog

        from alphastrat.marketdata import chart_additions
        from strategies import receivers  # noqa: F401 - subscribes
        from strategies.indicator_charts import IndicatorAddition
        from strategies.models import Strategy
        from strategies.quant import registry
        from strategies.services import plugins
        from strategies.signal_charts import SignalAddition

        registry.load_builtin_plugins()
        plugins.load_all(settings.PLUGIN_DIR)
        chart_additions.register(IndicatorAddition())
        chart_additions.register(SignalAddition())
        auditlog.register(Strategy, m2m_fields={"universe"})
