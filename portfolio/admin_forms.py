"""Forms of the administration: the fields of the app with the row they belong to."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms

from portfolio.models import Portfolio, RiskLimits
from portfolio.rebalancing_forms import TriggerFields
from portfolio.rebalancing_forms import initial_of as triggers_of
from portfolio.risk_forms import LimitFields
from portfolio.risk_forms import initial_of as limits_of
from portfolio.services.rebalance_settings import settings_of


class PortfolioAdminForm(TriggerFields, forms.ModelForm):  # type: ignore[type-arg]
    """A portfolio with its rebalancing policy."""

    class Meta:
        model = Portfolio
        fields: ClassVar[tuple[str, ...]] = ("owner", "name", "currency", "reserve")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        stored = settings_of(self.instance.rebalance_settings)
        self.initial = triggers_of(stored) | dict(self.initial)


class LimitsAdminForm(LimitFields, forms.ModelForm):  # type: ignore[type-arg]
    """Limits of a portfolio, of a strategy, or of everything of their owner."""

    class Meta:
        model = RiskLimits
        fields: ClassVar[tuple[str, ...]] = ("owner", "portfolio", "strategy", "drawdown_action")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        stored = None if self.instance._state.adding else self.instance
        self.initial = limits_of(stored) | dict(self.initial)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        portfolio, strategy = cleaned.get("portfolio"), cleaned.get("strategy")
        if portfolio is not None and strategy is not None:
            raise forms.ValidationError("Limits are of a portfolio or of a strategy, not of both.")
        for subject in (portfolio, strategy):
            if subject is not None and subject.owner != cleaned.get("owner", subject.owner):
                raise forms.ValidationError(f"{subject} belongs to {subject.owner}.")
        return cleaned
