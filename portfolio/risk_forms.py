"""Forms of limits and of the kill switch."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from portfolio.models import RiskLimits
from portfolio.models.portfolio import TradingState
from portfolio.percent_fields import PercentField
from portfolio.quant.limit_catalogue import LIMITS, LimitSpec, LimitUnit, written
from portfolio.quant.risk_limits import RiskLimits as Limits
from portfolio.quant.risk_limits import limits_from

DEFAULTS = Limits()


class LimitFields(forms.Form):
    """One field per limit; an empty one keeps the default. Losses are written as they are felt."""

    drawdown_action = forms.ChoiceField(
        label="At a drawdown limit",
        choices=[
            ("deny", "Deny new entries"),
            ("reduce", "Reduce on the way to it"),
            ("halt", "Reduce, then halt"),
        ],
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            limits_from(self.values())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        return cleaned

    def values(self) -> dict[str, str]:
        """Return the limits that were given, as they are stored."""
        given = {name: self.cleaned_data.get(name) for name in LIMITS}
        return {
            name: _stored(LIMITS[name], value) for name, value in given.items() if value is not None
        }


class TradingStateForm(forms.Form):
    """The kill switch: what may be traded from now on, and why."""

    trading_state = forms.ChoiceField(label="Trading", choices=TradingState.choices)
    reason = forms.CharField(max_length=300)
    # What a halt does with stops, targets and trailing stops of what is held.
    protection = forms.ChoiceField(
        choices=[("keep", "Let protective exits rest"), ("cancel", "Cancel everything")],
        required=False,
    )

    @property
    def keeps_protection(self) -> bool:
        return bool(self.cleaned_data["protection"] != "cancel")


def switches(**fields: str) -> dict[str, dict[str, str]]:
    """Return what the dialogs of the kill switch send."""
    return {
        "state_fields": fields,
        "reduce_fields": fields | {"trading_state": "reducing"},
        "resume_fields": fields | {"trading_state": "active"},
    }


def _field(spec: LimitSpec) -> forms.Field:
    default = getattr(DEFAULTS, spec.name)
    shown = None if default is None else abs(Decimal(default))
    hint = "No limit unless set." if shown is None else f"Default {written(shown, spec.unit)}."
    if spec.unit is LimitUnit.FRACTION:
        return PercentField(label=spec.label, required=False, min_value=0, help_text=hint)
    if spec.unit is LimitUnit.COUNT:
        return forms.IntegerField(label=spec.label, required=False, min_value=1, help_text=hint)
    return forms.DecimalField(
        label=spec.label, required=False, min_value=0, help_text=hint, max_digits=24
    )


def initial_of(row: RiskLimits | None) -> dict[str, Any]:
    """Return what the fields of stored limits start with."""
    stored = {} if row is None else row.values
    found = {name: _shown(LIMITS[name], value) for name, value in stored.items() if name in LIMITS}
    return found | {"drawdown_action": "deny" if row is None else row.drawdown_action}


def _shown(spec: LimitSpec, value: Any) -> Any:
    if value is None:
        return None
    number = abs(Decimal(str(value)))
    return float(number) if spec.unit is LimitUnit.FRACTION else number


def _stored(spec: LimitSpec, value: Any) -> str:
    return f"-{value}" if spec.is_loss else str(value)


LimitFields.declared_fields |= {spec.name: _field(spec) for spec in LIMITS.values()}
LimitFields.base_fields = LimitFields.declared_fields


class LimitsForm(LimitFields):
    """The limits of a portfolio."""

    def __init__(self, given: Any = None, *, row: RiskLimits | None = None) -> None:
        super().__init__(given, initial=initial_of(row))

    @property
    def groups(self) -> list[tuple[str, list[tuple[Any, str]]]]:
        """Return bound fields and their units by scope, for the page."""
        found: dict[str, list[tuple[Any, str]]] = {}
        for spec in LIMITS.values():
            unit = "%" if spec.unit is LimitUnit.FRACTION else ""
            found.setdefault(spec.scope.title(), []).append((self[spec.name], unit))
        return list(found.items())
