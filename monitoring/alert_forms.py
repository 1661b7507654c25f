"""Filters of the alert pages, what people do with alerts, and silences."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import Q, TextChoices

from monitoring.models import Alert, AlertState, Severity, Silence
from monitoring.models.alert import AlertQuerySet, AlertSource, SilenceKind
from monitoring.quant.metric_catalogue import METRICS
from portfolio.models import Portfolio
from strategies.models import Strategy


class Tab(TextChoices):
    """The states by which the inbox is divided."""

    FIRING = "firing", "Firing"
    PENDING = "pending", "Pending"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"
    ALL = "all", "All"


TABS: dict[str, Q] = {
    Tab.FIRING: Q(state=AlertState.FIRING, acknowledged_at__isnull=True),
    Tab.PENDING: Q(state=AlertState.PENDING),
    Tab.ACKNOWLEDGED: Q(state=AlertState.FIRING, acknowledged_at__isnull=False),
    Tab.RESOLVED: Q(state=AlertState.RESOLVED),
    Tab.ALL: Q(),
}


class AlertFilter(forms.Form):
    """Choose alerts by severity, source, strategy, metric and words."""

    severity = forms.ChoiceField(choices=[("", "Any"), *Severity.choices], required=False)
    source = forms.ChoiceField(choices=[("", "Any"), *AlertSource.choices], required=False)
    metric = forms.ChoiceField(
        choices=[("", "Any"), *((key, metric.label) for key, metric in METRICS.items())],
        required=False,
    )
    q = forms.CharField(label="Strategy or words", required=False, max_length=100)
    strategy = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def apply(self, alerts: AlertQuerySet) -> AlertQuerySet:
        """Return the alerts that match; a filter that makes no sense is left out."""
        wanted = self.cleaned_data if self.is_valid() else {}
        for name in ("severity", "source", "metric"):
            if wanted.get(name):
                alerts = alerts.filter(**{name: wanted[name]})
        if wanted.get("strategy"):
            alerts = alerts.filter(strategy=wanted["strategy"])
        if words := wanted.get("q"):
            named = Q(strategy__name__icontains=words) | Q(portfolio__name__icontains=words)
            alerts = alerts.filter(named | Q(title__icontains=words))
        return alerts


SNOOZES = (("3600", "1 hour"), ("14400", "4 hours"), ("86400", "1 day"), ("604800", "1 week"))


class SnoozeForm(forms.Form):
    """Until when an alert is put off: for a while, or until it gets worse than a bound."""

    seconds = forms.ChoiceField(
        label="For", choices=[("", "No time limit"), *SNOOZES], required=False, initial="14400"
    )
    bound = forms.FloatField(label="Or until it passes", required=False)

    def __init__(self, *args: Any, alert: Alert | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        metric = METRICS.get(alert.metric) if alert is not None else None
        self.scale = metric.scale if metric else 1.0
        self.unit = metric.unit if metric else ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("seconds") and cleaned.get("bound") is None and not self.errors:
            self.add_error("seconds", "Give a time, a bound, or both.")
        return cleaned

    def choice(self, *, at: datetime) -> dict[str, Any]:
        """Return the arguments of `alert_actions.snooze`."""
        seconds, bound = self.cleaned_data["seconds"], self.cleaned_data["bound"]
        return {
            "until": at + timedelta(seconds=int(seconds)) if seconds else None,
            "bound": None if bound is None else bound / self.scale,
        }


class SilenceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Mute messages by matcher for a while, or plan a maintenance window."""

    severity = forms.ChoiceField(choices=[("", "Any"), *Severity.choices], required=False)
    metric = forms.ChoiceField(
        choices=[("", "Any"), *((key, metric.label) for key, metric in METRICS.items())],
        required=False,
    )
    source = forms.ChoiceField(choices=[("", "Any"), *AlertSource.choices], required=False)
    strategy = forms.ModelChoiceField(Strategy.objects.none(), required=False, empty_label="Any")
    portfolio = forms.ModelChoiceField(Portfolio.objects.none(), required=False, empty_label="Any")
    MATCHERS = ("severity", "metric", "source", "strategy", "portfolio")

    class Meta:
        model = Silence
        fields = ("kind", "starts_at", "ends_at", "comment")
        widgets = {
            name: forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
            for name in ("starts_at", "ends_at")
        }
        labels = {"starts_at": "From", "ends_at": "Until", "comment": "Why"}
        help_texts = {"comment": "Shown with every message that is not sent."}

    def __init__(self, *args: Any, user: Any, at: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        self.at = at
        self.fields["kind"].choices = SilenceKind.choices  # type: ignore[attr-defined]
        for name, model in (("strategy", Strategy), ("portfolio", Portfolio)):
            self.fields[name].queryset = model.objects.for_user(user)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts, ends = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "This must be after the beginning.")
        elif ends and ends <= self.at:
            self.add_error("ends_at", "This time has passed.")
        return cleaned

    def matchers(self) -> dict[str, str]:
        """Return what an alert must be like to be muted."""
        chosen = {name: self.cleaned_data.get(name) for name in self.MATCHERS}
        return {name: str(getattr(value, "pk", value)) for name, value in chosen.items() if value}
