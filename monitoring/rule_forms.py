"""The form of a threshold rule, in the app and in the administration."""

from __future__ import annotations

from typing import Any

from django import forms

from monitoring.models import ThresholdRule
from monitoring.models.rule import Comparator, RuleScope, ThresholdRuleQuerySet
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services.rules import FIELDS
from portfolio.models import Portfolio
from strategies.models import Strategy

BOUNDS = ("warning_bound", "critical_bound", "clear_bound")
DURATIONS = (
    (0, "At once"),
    (60, "1 minute"),
    (300, "5 minutes"),
    (900, "15 minutes"),
    (1800, "30 minutes"),
    (3600, "1 hour"),
    (7200, "2 hours"),
    (14400, "4 hours"),
    (86400, "1 day"),
    (259200, "3 days"),
    (604800, "1 week"),
)


def _duration(
    label: str, help_text: str, *, none: str = "", initial: int | None = None
) -> forms.TypedChoiceField:
    choices: list[tuple[Any, str]] = [("", none)] if none else []
    return forms.TypedChoiceField(
        label=label,
        choices=[*choices, *DURATIONS],
        coerce=int,
        empty_value=None,
        required=not none,
        help_text=help_text,
        initial=initial,
    )


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule to make or change; bounds are typed in the unit of the metric."""

    metric = forms.ChoiceField(choices=[(key, one.label) for key, one in METRICS.items()])
    pending_seconds = _duration("Fires after", "How long a breach must last first.")
    cooldown_seconds = _duration(
        "Tell again after", "Least time between two messages.", initial=3600
    )
    escalate_after_seconds = _duration(
        "Escalate after", "When nobody has acknowledged it.", none="Never"
    )
    expected_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = ThresholdRule
        fields = FIELDS
        labels = {
            "scope": "Looks at",
            "comparator": "In breach",
            "warning_bound": "Warning",
            "critical_bound": "Critical",
            "clear_bound": "Clears at",
            "window_bars": "Window",
            "minimum_observations": "Least observations",
            "active_calendar": "Only while open",
            "no_data_policy": "Without data",
            "is_enabled": "On",
        }
        help_texts = {
            "clear_bound": "Where a breach ends; empty: at the bound itself.",
            "active_calendar": "Calendar of an exchange, such as XNYS; empty: always.",
        }

    def __init__(self, *args: Any, user: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["strategy"].queryset = Strategy.objects.filter(owner=user)  # type: ignore[attr-defined]
        self.fields["portfolio"].queryset = Portfolio.objects.filter(owner=user)  # type: ignore[attr-defined]
        self.fields["comparator"].choices = Comparator.choices  # type: ignore[attr-defined]
        self._keep_durations()
        if self.instance.owner_id is None:
            self.instance.owner = user
        self.initial.setdefault("expected_version", self.instance.version)
        for name in BOUNDS:
            if (level := self.initial.get(name)) is not None:
                self.initial[name] = round(level * self.scale, 10)

    @property
    def chosen_metric(self) -> Any:
        return METRICS.get(self["metric"].value() or "", METRICS["drawdown"])

    @property
    def scale(self) -> float:
        """What a stored bound is multiplied by for people."""
        scale: float = self.chosen_metric.scale
        return scale

    @property
    def unit(self) -> str:
        unit: str = self.chosen_metric.unit
        return unit

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        scale = METRICS[cleaned["metric"]].scale if "metric" in cleaned else 1.0
        for name in BOUNDS:
            if cleaned.get(name) is not None:
                cleaned[name] = round(cleaned[name] / scale, 12)
        return cleaned

    def touched_only(self) -> None:
        """Forget that required fields are empty: the form is still being filled in."""
        for name, found in list(self.errors.as_data().items()):
            if all(error.code == "required" for error in found):
                del self.errors[name]

    def _keep_durations(self) -> None:
        """Offer a length that was set elsewhere, so that saving does not change it."""
        for name in ("pending_seconds", "cooldown_seconds", "escalate_after_seconds"):
            own = getattr(self.instance, name)
            field = self.fields[name]
            if own is not None and own not in dict(DURATIONS):
                field.choices = [*field.choices, (own, f"{own:,} seconds")]  # type: ignore[attr-defined]


class RuleFilter(forms.Form):
    """Choose rules by what they look at and what they measure."""

    scope = forms.ChoiceField(choices=[("", "Any"), *RuleScope.choices], required=False)
    metric = forms.ChoiceField(
        choices=[("", "Any"), *((key, one.label) for key, one in METRICS.items())],
        required=False,
    )
    strategy = forms.ModelChoiceField(
        Strategy.objects.none(), label="As it applies to", required=False, empty_label="Everything"
    )

    def __init__(self, *args: Any, user: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["strategy"].queryset = Strategy.objects.for_user(user)  # type: ignore[attr-defined]

    def apply(self, rules: ThresholdRuleQuerySet) -> ThresholdRuleQuerySet:
        """Return the rules that match; a filter that makes no sense is left out."""
        wanted = self.cleaned_data if self.is_valid() else {}
        for name in ("scope", "metric"):
            if wanted.get(name):
                rules = rules.filter(**{name: wanted[name]})
        return rules


class RuleImportForm(forms.Form):
    """A document of rules, as a file or as text."""

    upload = forms.FileField(label="File", required=False)
    document = forms.CharField(
        label="Or paste it",
        required=False,
        max_length=500_000,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        upload = cleaned.get("upload")
        if upload is not None:
            if upload.size > 500_000:
                self.add_error("upload", "At most 500 kB.")
            else:
                cleaned["document"] = upload.read().decode("utf-8", errors="replace")
        elif not cleaned.get("document") and not self.errors:
            self.add_error("document", "Choose a file, or paste its text.")
        return cleaned
