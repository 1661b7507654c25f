"""Filters, the upload form, and how a chart is asked for."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Count, Prefetch, Q, QuerySet

from alphastrat.accounts.models import validate_time_zone
from alphastrat.core.errors import AlphaStratError
from alphastrat.marketdata.models import (
    Adjustment,
    AssetClass,
    BarSeries,
    ImportRun,
    ImportStatus,
    Instrument,
)
from alphastrat.marketdata.providers.files import tidy_symbol
from alphastrat.marketdata.quality import SYMBOL
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.calendars import calendar
from alphastrat.quant.types import Timeframe

TIMEFRAMES = {
    Timeframe.MINUTE_1: "1 minute",
    Timeframe.MINUTE_5: "5 minutes",
    Timeframe.MINUTE_15: "15 minutes",
    Timeframe.MINUTE_30: "30 minutes",
    Timeframe.HOUR_1: "1 hour",
    Timeframe.HOUR_4: "4 hours",
    Timeframe.DAY_1: "1 day",
    Timeframe.WEEK_1: "1 week",
    Timeframe.MONTH_1: "1 month",
}
EXCHANGES = [
    ("XNYS", "New York Stock Exchange (XNYS)"),
    ("XNAS", "Nasdaq (XNAS)"),
    ("XLON", "London (XLON)"),
    ("XETR", "Xetra (XETR)"),
    ("XPAR", "Paris (XPAR)"),
    ("XAMS", "Amsterdam (XAMS)"),
    ("XSWX", "Zurich (XSWX)"),
    ("XTKS", "Tokyo (XTKS)"),
    ("XHKG", "Hong Kong (XHKG)"),
    ("CMES", "CME futures (CMES)"),
    ("24/5", "Weekdays around the clock: FX (24/5)"),
    ("24/7", "Every day around the clock: crypto (24/7)"),
]
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
RESERVED_SOURCES = {"sample", "replay", "massive", "yfinance"}


class InstrumentFilter(forms.Form):
    """Choose instruments by name, kind and sector."""

    q = forms.CharField(label="Symbol or name", required=False, max_length=60)
    asset_class = forms.ChoiceField(
        label="Asset class", choices=[("", "Any"), *AssetClass.choices], required=False
    )
    sector = forms.CharField(required=False, max_length=60)

    def __init__(self, *args: Any, sectors: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "Any"), *((sector, sector) for sector in sectors)]
        self.fields["sector"] = forms.ChoiceField(choices=choices, required=False)

    def apply(self, instruments: QuerySet[Instrument]) -> QuerySet[Instrument]:
        """Return the instruments that match; a filter that makes no sense is left out."""
        if not self.is_valid():
            return instruments
        wanted = self.cleaned_data
        if wanted["q"]:
            instruments = instruments.filter(
                Q(symbol__icontains=wanted["q"]) | Q(name__icontains=wanted["q"])
            )
        for name in ("asset_class", "sector"):
            if wanted[name]:
                instruments = instruments.filter(**{name: wanted[name]})
        return instruments


def with_market_data(instruments: QuerySet[Instrument]) -> QuerySet[Instrument]:
    """Bring along the series of each instrument and how many findings on them are open."""
    series = BarSeries.objects.filter(bar_count__gt=0).order_by("-bar_count")
    # A replayed series repeats another one, and its findings.
    stands = Q(series__findings__resolved_at__isnull=True) & ~Q(series__source="replay")
    open_findings = Count("series__findings", filter=stands)
    return instruments.prefetch_related(Prefetch("series", series)).annotate(
        n_findings=open_findings
    )


class ImportFilter(forms.Form):
    """Choose imports by state."""

    status = forms.ChoiceField(choices=[("", "Any"), *ImportStatus.choices], required=False)

    def apply(self, runs: QuerySet[ImportRun]) -> QuerySet[ImportRun]:
        """Return the imports that match."""
        if self.is_valid() and self.cleaned_data["status"]:
            return runs.filter(status=self.cleaned_data["status"])
        return runs


class ImportForm(forms.Form):
    """A file of bars, and what it does not say of itself."""

    file = forms.FileField(
        label="File",
        help_text="CSV or Parquet with time, open, high, low, close and volume.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.txt,.tsv,.parquet,.pq"}),
    )
    timeframe = forms.ChoiceField(
        choices=[(frame.value, label) for frame, label in TIMEFRAMES.items()], initial="1d"
    )
    symbol = forms.CharField(
        required=False,
        max_length=40,
        help_text="Only for a file of one instrument without a symbol column.",
    )
    exchange = forms.ChoiceField(
        choices=EXCHANGES,
        initial="XNYS",
        help_text="The trading hours of instruments that are new; known ones keep theirs.",
    )
    asset_class = forms.ChoiceField(
        label="Asset class", choices=AssetClass.choices, initial=AssetClass.EQUITY
    )
    currency = forms.RegexField(
        r"^[A-Za-z]{3}$",
        initial="USD",
        error_messages={"invalid": "A currency has three letters, such as USD."},
    )
    adjustment = forms.ChoiceField(
        choices=Adjustment.choices,
        initial=Adjustment.SPLIT,
        help_text="What the prices in the file are.",
    )
    zone = forms.CharField(
        label="Time zone",
        required=False,
        max_length=50,
        validators=[validate_time_zone],
        help_text="Of times without one. Empty: the exchange's own.",
    )
    source = forms.CharField(
        initial="file",
        max_length=40,
        help_text="Names the series; sources are never mixed.",
    )

    def clean_file(self) -> UploadedFile[Any]:
        upload: UploadedFile[Any] = self.cleaned_data["file"]
        if upload.size and upload.size > settings.IMPORT_MAX_BYTES:
            raise forms.ValidationError(
                f"The file is larger than {settings.IMPORT_MAX_BYTES // 2**20} MB. "
                "Split it, or save it as Parquet."
            )
        return upload

    def clean_symbol(self) -> str:
        symbol = tidy_symbol(self.cleaned_data["symbol"])
        if symbol and not SYMBOL.fullmatch(symbol):
            raise forms.ValidationError("No symbol looks like that.")
        return symbol

    def clean_source(self) -> str:
        source = str(self.cleaned_data["source"]).strip().lower()
        if not SOURCE_NAME.fullmatch(source):
            raise forms.ValidationError("Use letters, digits, dots, dashes and underscores.")
        if source in RESERVED_SOURCES:
            raise forms.ValidationError(f"{source!r} is the name of a provider; choose another.")
        return source

    def clean_exchange(self) -> str:
        code = str(self.cleaned_data["exchange"])
        calendar(code)
        return code

    def report(self, error: AlphaStratError) -> None:
        """Say beside the fields what is wrong with a file that looked well."""
        name, advice = next(iter(error.fields.items()), ("file", ""))
        self.add_error(name if name in self.fields else "file", f"{error} {advice}".strip())

    @property
    def target(self) -> Target:
        """Return where the rows of a valid form go."""
        chosen = self.cleaned_data
        return Target(
            timeframe=Timeframe(chosen["timeframe"]),
            source=chosen["source"],
            adjustment=chosen["adjustment"],
            exchange=chosen["exchange"],
            asset_class=chosen["asset_class"],
            currency=chosen["currency"].upper(),
        )
