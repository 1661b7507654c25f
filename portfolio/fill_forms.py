"""Forms of fills and accounts."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.core.files.uploadedfile import UploadedFile

from portfolio.models import BrokerName
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


class AccountForm(forms.Form):
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
        max_length=60, required=False, help_text="The broker's own name of the account."
    )
