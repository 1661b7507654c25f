"""The form of a strategy and the filter of their list."""

from __future__ import annotations

from typing import Any

from django import forms

from alphastrat.core.errors import AlphaStratError
from strategies.forms import ConfigurationForm
from strategies.models import LifecycleState, StrategyVersion
from strategies.models.strategy import StrategyQuerySet
from strategies.quant import registry
from strategies.services.lifecycle import StrategyDraft, check_draft
from strategies.services.table_additions import OF_STRATEGIES


class StrategyForm(ConfigurationForm):
    """A strategy to create, or the next version of one."""

    name = forms.CharField(max_length=120)
    description = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 2}), required=False, help_text="What it bets on."
    )
    reason = forms.CharField(
        label="Reason for this version",
        max_length=300,
        required=False,
        help_text="Shown in the version history.",
    )
    expected_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if {"plugin", "timeframe"} <= set(cleaned):
            try:
                check_draft(self.draft())
            except AlphaStratError as error:
                self.report(error)
        return cleaned

    def draft(self) -> StrategyDraft:
        """Return the strategy as asked for, unchecked."""
        cleaned = self.cleaned_data
        return StrategyDraft(
            name=cleaned.get("name", ""),
            description=cleaned.get("description", ""),
            plugin=cleaned["plugin"],
            symbols=cleaned.get("symbols", []),
            timeframe=cleaned["timeframe"],
            parameters=self.cleaned_part("parameters"),
            exit_rules=self.cleaned_part("exit_rules"),
            sizing=self.cleaned_part("sizing"),
        )


class StrategyFilter(forms.Form):
    """Choose strategies by state, type and words, and by what apps above know of them."""

    state = forms.ChoiceField(choices=[("", "Any"), *LifecycleState.choices], required=False)
    plugin = forms.ChoiceField(label="Strategy type", required=False)
    q = forms.CharField(label="Name", required=False, max_length=100)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known = [(key, registry.plugin(key).label) for key in registry.plugin_keys()]
        self.fields["plugin"].choices = [("", "Any"), *known]  # type: ignore[attr-defined]
        added = OF_STRATEGIES.fields()
        self.fields.update(added)
        self.order_fields(["state", *added])
        self._compared = ("state", "plugin", *added)

    def apply(self, strategies: StrategyQuerySet) -> StrategyQuerySet:
        """Return those of the annotated strategies that match.

        A filter that makes no sense is left out.
        """
        if not self.is_valid():
            return strategies
        wanted = self.cleaned_data
        for name in self._compared:
            if wanted[name]:
                strategies = strategies.filter(**{name: wanted[name]})
        return strategies.filter(name__icontains=wanted["q"]) if wanted["q"] else strategies


def initial_of_version(version: StrategyVersion) -> dict[str, Any]:
    """Return the initial values of a form that changes a strategy."""
    strategy = version.strategy
    initial: dict[str, Any] = {
        "name": strategy.name,
        "description": strategy.description,
        "plugin": version.plugin,
        "symbols": ", ".join(version.symbols),
        "timeframe": version.timeframe,
        "expected_version": version.number,
    }
    for part in ("parameters", "exit_rules", "sizing"):
        values = getattr(version, part)
        initial |= {f"{part}__{name}": value for name, value in values.items()}
    return initial
