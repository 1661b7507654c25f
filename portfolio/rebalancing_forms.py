"""The form of rebalancing triggers."""

from __future__ import annotations

from typing import Any

from django import forms

from alphastrat.core.errors import AlphaStratError
from portfolio.percent_fields import PercentField
from portfolio.quant.rebalance_policies import Calendar, Destination
from portfolio.services.rebalance_settings import USUAL, RebalanceSettings, settings_of

# Switch, and the value it switches: without the switch the value is not used.
SWITCHES = {
    "absolute": "is_absolute",
    "relative": "is_relative",
    "risk_band": "is_risk",
    "sharpe_share": "is_sharpe",
    "volatility_high": "is_volatility",
}


class TriggerFields(forms.Form):
    """Triggers on and off with their bounds, costs, and who decides."""

    calendar = forms.ChoiceField(
        label="Calendar", choices=[(one.value, one.value.title()) for one in Calendar]
    )
    is_absolute = forms.BooleanField(label="Weight off its target", required=False)
    absolute = PercentField(label="By more than", min_value=0.1, max_value=100)
    is_relative = forms.BooleanField(label="Weight off by a share of its target", required=False)
    relative = PercentField(label="Share of the target", min_value=1, max_value=500)
    is_cost_aware = forms.BooleanField(
        label="Weight outside the no-trade region of its costs", required=False
    )
    risk_aversion = forms.FloatField(label="Risk aversion", min_value=0.1, max_value=100)
    is_risk = forms.BooleanField(label="Share of risk off what is intended", required=False)
    risk_band = PercentField(label="Relative distance", min_value=1, max_value=500)
    is_sharpe = forms.BooleanField(label="Sharpe ratio below a share of the target", required=False)
    sharpe_share = PercentField(label="Share of the target ratio", min_value=1, max_value=100)
    target_sharpe = forms.FloatField(label="Target Sharpe ratio", min_value=0.01, max_value=10)
    sharpe_window = forms.IntegerField(label="Measured over", min_value=20, max_value=1000)
    is_volatility = forms.BooleanField(
        label="Volatility far from its long-run level", required=False
    )
    volatility_high = PercentField(
        label="Turbulent above this share of it", min_value=101, max_value=1000
    )
    volatility_low = PercentField(label="Calm below", min_value=0, max_value=99)
    volatility_window = forms.IntegerField(
        label="Realised volatility over", min_value=5, max_value=250
    )
    volatility_long = forms.IntegerField(label="Long run", min_value=15, max_value=2500)
    on_status = forms.BooleanField(
        label="A strategy is degraded, suspended or retired", required=False
    )
    rest_bars = forms.IntegerField(label="Rest after a rebalance", min_value=0, max_value=250)
    destination = forms.ChoiceField(
        label="A breached band is traded",
        choices=[
            (Destination.TARGET.value, "Back to the target"),
            (Destination.EDGE.value, "To the edge of the band"),
        ],
    )
    cost_bps = forms.FloatField(label="Cost of one side", min_value=0, max_value=500)
    minimum = PercentField(label="Smallest movement", min_value=0, max_value=50)
    is_automatic = forms.BooleanField(
        label="Approve by itself when every check passes",
        required=False,
        help_text="Without it, each proposal waits for a person.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                settings_of(self.values())
            except AlphaStratError as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned

    def values(self) -> dict[str, Any]:
        """Return the settings as they are stored."""
        values = {name: self.cleaned_data[name] for name in TriggerFields.base_fields}
        paused = {name: values[name] for name, switch in SWITCHES.items() if not values.pop(switch)}
        # Of the two bands, the switch of the page brings back the absolute one.
        kept = {name: value for name, value in paused.items() if name != "relative"}
        return values | dict.fromkeys(paused) | {"paused": kept}


class RebalanceForm(TriggerFields):
    """The triggers of a portfolio."""

    def __init__(self, given: Any = None, *, settings: RebalanceSettings) -> None:
        super().__init__(given, initial=initial_of(settings))


def initial_of(settings: RebalanceSettings) -> dict[str, Any]:
    """Return what the fields start with; one that is off has its usual bound ready."""
    values = settings.as_json()
    for name, switch in SWITCHES.items():
        values[switch] = values[name] is not None
        if values[name] is None:
            values[name] = values["paused"].get(name, USUAL[name])
    return values
