"""The filter of verdicts, and how one strategy is judged."""

from __future__ import annotations

from typing import Any

from django import forms

from monitoring.models.verification import (
    DegradationAction,
    Verification,
    VerificationQuerySet,
    VerificationStatus,
)

SETTABLE = ("monitoring", "watch", "degraded", "failed")


class VerificationFilter(forms.Form):
    """Choose verdicts by status and words."""

    status = forms.ChoiceField(
        label="Verdict", choices=[("", "Any"), *VerificationStatus.choices], required=False
    )
    q = forms.CharField(label="Strategy", required=False, max_length=100)

    def apply(self, found: VerificationQuerySet) -> VerificationQuerySet:
        """Return the verdicts that match; a filter that makes no sense is left out."""
        wanted = self.cleaned_data if self.is_valid() else {}
        if wanted.get("status"):
            found = found.filter(status=wanted["status"])
        if wanted.get("q"):
            found = found.filter(strategy__name__icontains=wanted["q"])
        return found


class VerificationSettings(forms.Form):
    """How a strategy is judged; percentages outside, fractions inside."""

    false_alarms_per_year = forms.FloatField(
        label="False alarms accepted",
        min_value=0.01,
        max_value=12.0,
        help_text="Expected number while nothing is wrong. Fewer means that it takes longer to "
        "notice when something is.",
    )
    tolerance = forms.FloatField(
        label="The same within",
        min_value=1.0,
        max_value=100.0,
        help_text="Live and shadow fills count as the same when their mean difference is surely "
        "smaller than this share of the mean absolute return of a round trip.",
    )
    hard_drawdown = forms.FloatField(
        label="Own drawdown limit",
        min_value=0.1,
        max_value=100.0,
        required=False,
        help_text="Beyond it the verdict is failed at once, whatever the statistics say. A loss; "
        "20 means 20 % below the highest equity. Empty for none.",
    )
    on_degraded = forms.ChoiceField(
        label="When degraded or failed",
        choices=DegradationAction.choices,
        help_text="Done by itself, recorded in the audit log, and taken back by hand. Nothing by "
        "default.",
    )

    @classmethod
    def of(cls, verification: Verification, *, is_open: bool) -> VerificationSettings:
        """Return the form with the settings as they are, closed to those who may only read."""
        limit = verification.hard_drawdown
        form = cls(
            initial={
                "false_alarms_per_year": verification.false_alarms_per_year,
                "tolerance": round(100 * verification.tolerance, 6),
                "hard_drawdown": None if limit is None else round(-100 * limit, 6),
                "on_degraded": verification.on_degraded,
            }
        )
        for field in form.fields.values():
            field.disabled = not is_open
        return form

    def changes(self) -> dict[str, Any]:
        """Return the settings as they are stored."""
        cleaned = self.cleaned_data
        limit = cleaned.get("hard_drawdown")
        return {
            "false_alarms_per_year": cleaned["false_alarms_per_year"],
            "tolerance": cleaned["tolerance"] / 100.0,
            "hard_drawdown": None if limit is None else -limit / 100.0,
            "on_degraded": cleaned["on_degraded"],
        }


class OverruleForm(forms.Form):
    """A verdict set by hand."""

    status = forms.ChoiceField(
        label="Verdict",
        choices=[(word, VerificationStatus(word).label) for word in SETTABLE],
    )
    reason = forms.CharField(
        label="Reason", max_length=300, widget=forms.Textarea(attrs={"rows": 2})
    )
