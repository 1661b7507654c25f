"""The portfolio app: orders, fills, positions, allocation and risk."""

from __future__ import annotations

from django.apps import AppConfig


class PortfolioConfig(AppConfig):
    """Subscribes trading to domain events and knows its brokers."""

    name = "portfolio"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported only once every app is loaded.
        from auditlog.registry import auditlog

        from alphastrat.core.doctor import add_check
        from alphastrat.marketdata import chart_additions
        from portfolio import (  # noqa: F401 - subscribe
            allocation_receivers,
            doctor,
            receivers,
            risk_receivers,
        )
        from portfolio.brokers import alpaca, external, paper  # noqa: F401 - register
        from portfolio.instrument_positions import PositionAddition
        from portfolio.models import Portfolio, RiskLimits
        from portfolio.signal_orders import OrderAddition
        from strategies.services.table_additions import OF_SIGNALS

        chart_additions.register(PositionAddition())
        OF_SIGNALS.register(OrderAddition())
        add_check(doctor.broker_credentials)
        # Capital and trading states have records of their own.
        states = ["reserve", "trading_state", "state_reason", "state_changed_at"]
        auditlog.register(Portfolio, exclude_fields=[*states, "keeps_protection", "updated_at"])
        auditlog.register(RiskLimits, exclude_fields=["updated_at"])
