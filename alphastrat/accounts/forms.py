"""Forms of the sign-in and settings pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.functional import lazy

from alphastrat.accounts.models import ApiToken, User, time_zone_names
from alphastrat.core.access import Role

NO_END = "never"
LIFETIMES = {"30": "30 days", "90": "90 days", "365": "One year", NO_END: "No expiry"}


class SignInForm(AuthenticationForm):
    """User name and password; the error never says which of the two was wrong."""

    error_messages = {
        "invalid_login": "The user name or the password is wrong.",
        "inactive": "This account is switched off.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"


class PreferencesForm(forms.ModelForm):  # type: ignore[type-arg]
    """How a person likes the pages."""

    timezone = forms.ChoiceField(
        label="Time zone",
        choices=lazy(lambda: _time_zone_groups(), list),
        help_text="Times on pages are shown in this zone; the API always answers in UTC.",
    )

    class Meta:
        model = User
        fields = ["theme", "pnl_palette", "density", "timezone", "shortcuts_enabled"]
        labels = {
            "pnl_palette": "Profit and loss colours",
            "shortcuts_enabled": "Keyboard shortcuts",
        }
        help_texts = {
            "pnl_palette": "A sign and an arrow always say the direction as well.",
        }


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(
        max_length=80, help_text="What will use it, such as “research notebook”."
    )
    scope = forms.ChoiceField(choices=ApiToken.Scope.choices)
    lifetime = forms.ChoiceField(label="Valid for", choices=list(LIFETIMES.items()), initial="90")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not user.has_role(Role.TRADER):
            # A token never may more than its owner, so it should not look as if it could.
            self.fields["scope"].choices = [(ApiToken.Scope.READ, "Read")]  # type: ignore[attr-defined]

    def expires_at(self, *, at: datetime) -> datetime | None:
        """Return when the new token ends."""
        days = self.cleaned_data["lifetime"]
        return None if days == NO_END else at + timedelta(days=int(days))


def _time_zone_groups() -> list[tuple[str, list[tuple[str, str]]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in time_zone_names():
        region, slash, city = name.partition("/")
        label = (city if slash else region).replace("_", " ")
        groups.setdefault(region if slash else "Other", []).append((name, label))
    return sorted(groups.items())
