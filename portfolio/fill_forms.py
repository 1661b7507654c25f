"""Forms of fills and accounts."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.core.files.uploadedfile import UploadedFile

from alphastrat.core.errors import InvalidInput
from portfolio.models import BrokerName
from portfolio.services import broker_keys
from portfolio.services.fill_formats import FLEX_ZONE, MAX_BYTES


class FillFileForm(forms.Form):
    """A file of fills."""

    file = forms.FileField(
        label="File",
        max_length=200,
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.json,.xml,.sqlite,.txt"}),
        help_text="CSV, Alpaca activities (JSON), an IBKR Flex query (XML), or freqtrade trades "
        f"(JSON or SQLite); at most {MAX_BYTES // 2**20} MB.",
    )
    zone = forms.CharField(
        label="Time zone of a Flex query",
        initial=FLEX_ZONE,
        required=False,
        max_length=60,
        help_text="Flex queries give times without a zone.",
    )

    def clean_file(self) -> UploadedFile[Any]:
        upload: UploadedFile[Any] = self.cleaned_data["file"]
        if upload.size and upload.size > MAX_BYTES:
            raise forms.ValidationError(
                f"The file is larger than {MAX_BYTES // 2**20} MB. Send a shorter period."
            )
        return upload

    def clean_zone(self) -> str:
        zone = self.cleaned_data["zone"] or FLEX_ZONE
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise forms.ValidationError(f"{zone} is no time zone; try {FLEX_ZONE}.") from None
        return str(zone)


class BrokerKeyForm(forms.Form):
    """The key of an account at a broker; what was entered is never shown again."""

    key_id = forms.CharField(
        label="Key ID",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    secret = forms.CharField(
        label="Secret key",
        max_length=200,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            cleaned["key"] = broker_keys.pair(
                cleaned.get("key_id") or "", cleaned.get("secret") or ""
            )
        except InvalidInput as error:
            for name, reason in error.fields.items():
                self.add_error(name, reason)
        return cleaned


class AccountForm(BrokerKeyForm):
    """An account somewhere else for a strategy."""

    broker = forms.ChoiceField(
        choices=[
            (BrokerName.EXTERNAL, "External: fills are sent or imported"),
            (BrokerName.ALPACA, "Alpaca: orders are sent to a paper account there"),
        ]
    )
    capital = forms.DecimalField(
        min_value=0, max_value=10**12, decimal_places=2, initial=100_000, label="Cash at the start"
    )
    reference = forms.CharField(
        max_length=60,
        required=False,
        help_text="The broker's own name of the account; Alpaca tells it itself.",
    )
    field_order = ("broker", "capital", "reference", "key_id", "secret")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("key") is not None and cleaned.get("broker") != BrokerName.ALPACA:
            self.add_error("key_id", "Only an account at Alpaca is reached with a key.")
        return cleaned
