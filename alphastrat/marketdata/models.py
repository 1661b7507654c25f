"""Instruments, their bars, and what is known about the quality of both.

Market data belongs to the installation, not to a user; an import run remembers who asked for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from alphastrat.core.constraints import bounded_check, choices_check
from alphastrat.core.models import TimeStampedModel, UUIDModel
from alphastrat.quant.calendars import calendar
from alphastrat.quant.types import Timeframe

# A finite bound keeps NaN and infinity out, which PostgreSQL sorts above every number.
MAX_PRICE = 1e12
MAX_VOLUME = 1e18
TIMEFRAMES = [(timeframe.value, timeframe.value) for timeframe in Timeframe]


class AssetClass(models.TextChoices):
    EQUITY = "equity", "Equity"
    FX = "fx", "FX"
    FUTURE = "future", "Future"
    CRYPTO = "crypto", "Crypto"


class Instrument(UUIDModel, TimeStampedModel):
    """A tradable thing."""

    symbol = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=120, blank=True)
    asset_class = models.CharField(max_length=6, choices=AssetClass, default=AssetClass.EQUITY)
    exchange = models.CharField(
        max_length=10,
        default="XNYS",
        help_text="Calendar code of the exchange, such as XNYS, XLON or 24/7.",
    )
    currency = models.CharField(max_length=3, default="USD")
    tick_size = models.DecimalField(max_digits=18, decimal_places=10, default="0.01")
    sector = models.CharField(max_length=60, blank=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["symbol"]
        constraints = [
            choices_check("marketdata_instrument_asset_class", "asset_class", AssetClass.values),
            models.CheckConstraint(
                condition=Q(tick_size__gt=0), name="marketdata_instrument_tick_size_is_positive"
            ),
            models.CheckConstraint(
                condition=~Q(symbol=""), name="marketdata_instrument_has_symbol"
            ),
        ]

    def __str__(self) -> str:
        return self.symbol

    def get_absolute_url(self) -> str:
        return reverse("marketdata:instrument-detail", args=[self.symbol])

    def clean(self) -> None:
        try:
            calendar(self.exchange)
        except ValueError as error:
            raise ValidationError({"exchange": f"This is an {error}."}) from None


class Adjustment(models.TextChoices):
    RAW = "raw", "Unadjusted"
    SPLIT = "split", "Adjusted for splits"
    TOTAL = "total", "Adjusted for splits and dividends"


class BarSeries(UUIDModel, TimeStampedModel):
    """The bars of one instrument, timeframe, adjustment and source; sources are never mixed."""

    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="series")
    timeframe = models.CharField(max_length=3, choices=TIMEFRAMES)
    adjustment = models.CharField(max_length=5, choices=Adjustment, default=Adjustment.SPLIT)
    source = models.CharField(max_length=40)
    bar_count = models.PositiveBigIntegerField(default=0)
    first_opened_at = models.DateTimeField(null=True, blank=True)
    last_closed_at = models.DateTimeField(null=True, blank=True)
    # Grows with every change of a stored bar: what was derived from an older one is stale.
    revision = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["instrument__symbol", "timeframe"]
        verbose_name_plural = "bar series"
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "timeframe", "adjustment", "source"],
                name="marketdata_barseries_unique_series",
            ),
            choices_check(
                "marketdata_barseries_timeframe", "timeframe", [value for value, _ in TIMEFRAMES]
            ),
            choices_check("marketdata_barseries_adjustment", "adjustment", Adjustment.values),
            models.CheckConstraint(
                condition=Q(bar_count=0, first_opened_at__isnull=True, last_closed_at__isnull=True)
                | Q(
                    bar_count__gt=0,
                    # A CHECK lets NULL pass unless it is asked for.
                    first_opened_at__isnull=False,
                    last_closed_at__isnull=False,
                    last_closed_at__gt=F("first_opened_at"),
                ),
                name="marketdata_barseries_range_iff_bars",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe} {self.adjustment} from {self.source}"


class BarQuerySet(models.QuerySet["Bar"]):
    def known_at(self, at: datetime) -> BarQuerySet:
        """Return the bars whose close had happened by `at`: the only way research reads bars."""
        return self.filter(closed_at__lte=at)


class Bar(models.Model):
    """One OHLCV record. The key is the opening time; the value is known at the close."""

    pk = models.CompositePrimaryKey("series_id", "opened_at")
    # No constraint in the database: PostgreSQL checks it row by row, which takes longer than all
    # the rest of an import. Bars come in only by the merge, which holds the locks of their series.
    series = models.ForeignKey(
        BarSeries, models.CASCADE, related_name="bars", db_index=False, db_constraint=False
    )
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()
    ingested_at = models.DateTimeField()

    objects = BarQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(closed_at__gt=F("opened_at")),
                name="marketdata_bar_closes_after_open",
            ),
            bounded_check("marketdata_bar_high", "high", 0, MAX_PRICE),
            models.CheckConstraint(
                condition=Q(
                    low__gt=0,
                    low__lte=F("open"),
                    high__gte=F("open"),
                )
                & Q(low__lte=F("close"), high__gte=F("close")),
                name="marketdata_bar_range_holds_open_and_close",
            ),
            bounded_check("marketdata_bar_volume", "volume", 0, MAX_VOLUME),
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.opened_at:%Y-%m-%d %H:%M}"


class BarBlock(models.Model):
    """The bars of a series as arrays: derived from the rows, rebuilt when they change."""

    series = models.OneToOneField(BarSeries, models.CASCADE, primary_key=True, related_name="block")
    revision = models.PositiveBigIntegerField()
    n_bars = models.PositiveBigIntegerField()
    opened_at = models.BinaryField()  # int64 microseconds since the epoch, UTC
    closed_at = models.BinaryField()
    open = models.BinaryField()  # float64, as the columns that follow
    high = models.BinaryField()
    low = models.BinaryField()
    close = models.BinaryField()
    volume = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.series_id} at revision {self.revision}"


class BarDay(models.Model):
    """The bars of a series summed up by UTC day, by the database itself."""

    pk = models.CompositePrimaryKey("series_id", "day")
    series = models.ForeignKey(
        BarSeries, models.DO_NOTHING, related_name="days", db_constraint=False
    )
    day = models.DateTimeField()
    n_bars = models.BigIntegerField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()

    class Meta:
        managed = False
        db_table = "marketdata_barday"

    def __str__(self) -> str:
        return f"{self.series_id} {self.day:%Y-%m-%d}"


class CorporateAction(UUIDModel, TimeStampedModel):
    """A split or a cash dividend."""

    class Kind(models.TextChoices):
        SPLIT = "split", "Split"
        DIVIDEND = "dividend", "Cash dividend"

    instrument = models.ForeignKey(Instrument, models.CASCADE, related_name="corporate_actions")
    kind = models.CharField(max_length=8, choices=Kind)
    ex_date = models.DateField(help_text="First session that trades without the right.")
    split_ratio = models.FloatField(
        null=True, blank=True, help_text="New shares per old share; 2 for a two-for-one split."
    )
    cash_amount = models.FloatField(
        null=True, blank=True, help_text="Per share, in the instrument's currency."
    )
    source = models.CharField(max_length=40)

    class Meta:
        ordering = ["-ex_date"]
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "kind", "ex_date"],
                name="marketdata_corporateaction_unique_action",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind="split",
                    split_ratio__isnull=False,
                    split_ratio__gt=0,
                    split_ratio__lt=1e6,
                    cash_amount__isnull=True,
                )
                | Q(
                    kind="dividend",
                    cash_amount__isnull=False,
                    cash_amount__gt=0,
                    cash_amount__lt=1e6,
                    split_ratio__isnull=True,
                ),
                name="marketdata_corporateaction_value_fits_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.kind} {self.ex_date}"


class ImportStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class ImportRunQuerySet(models.QuerySet["ImportRun"]):
    def for_user(self, user: Any) -> ImportRunQuerySet:
        """Return the user's own imports; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)


class ImportRun(UUIDModel):
    """One delivery of bars: from where, how many landed, how many did not and why."""

    Status = ImportStatus

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="imports"
    )
    job = models.ForeignKey("core.Job", models.SET_NULL, null=True, blank=True, related_name="+")
    series = models.ManyToManyField(BarSeries, related_name="import_runs", blank=True)
    source = models.CharField(max_length=40)
    file_name = models.CharField(max_length=255, blank=True)
    stored_path = models.CharField(max_length=500, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    options = models.JSONField(default=dict)
    status = models.CharField(max_length=9, choices=ImportStatus, default=ImportStatus.QUEUED)
    rows_read = models.PositiveBigIntegerField(default=0)
    rows_stored = models.PositiveBigIntegerField(default=0)
    rows_unchanged = models.PositiveBigIntegerField(default=0)
    rows_restated = models.PositiveBigIntegerField(default=0)
    rows_quarantined = models.PositiveBigIntegerField(default=0)
    report = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ImportRunQuerySet.as_manager()

    class Meta:
        ordering = ["-requested_at"]
        # The imports page, newest first.
        indexes = [models.Index(fields=["-requested_at"], name="marketdata_import_newest")]
        constraints = [
            choices_check("marketdata_importrun_status", "status", ImportStatus.values),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running"]) ^ Q(finished_at__isnull=False),
                name="marketdata_importrun_finished_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name or self.source} ({self.status})"

    def get_absolute_url(self) -> str:
        return reverse("marketdata:import-detail", args=[self.pk])

    def start(self, *, at: datetime) -> None:
        """Begin, or begin again after a failure."""
        self.status, self.started_at, self.finished_at = self.Status.RUNNING, at, None
        self.error, self.report = "", {}
        self.save(update_fields=["status", "started_at", "finished_at", "error", "report"])

    def fail(self, error: Exception, *, fields: dict[str, str], at: datetime) -> None:
        """End without bars, with what is wrong and, by field, what to do."""
        self.status, self.error, self.finished_at = self.Status.FAILED, str(error), at
        self.report = {**self.report, "fields": fields}
        self.save(update_fields=["status", "error", "finished_at", "report"])


class QuarantinedRow(models.Model):
    """A row that was not stored, and why."""

    import_run = models.ForeignKey(ImportRun, models.CASCADE, related_name="quarantined")
    row_number = models.PositiveBigIntegerField()
    symbol = models.CharField(max_length=40, blank=True)
    opened_at = models.DateTimeField(null=True, blank=True)
    values = models.JSONField(default=dict)
    reason = models.CharField(max_length=40)
    detail = models.CharField(max_length=300)

    class Meta:
        ordering = ["row_number"]
        constraints = [
            models.UniqueConstraint(
                fields=["import_run", "row_number"], name="marketdata_quarantine_unique_row"
            )
        ]

    def __str__(self) -> str:
        return f"row {self.row_number}: {self.reason}"


class QualityFinding(models.Model):
    """Something about stored bars that a trader should know: a gap, a suspected split."""

    class Kind(models.TextChoices):
        GAP = "gap", "Gap"
        SUSPECTED_SPLIT = "suspected_split", "Suspected split"
        ZERO_VOLUME = "zero_volume", "No volume"
        OUTSIDE_CALENDAR = "outside_calendar", "Outside the calendar"

    series = models.ForeignKey(BarSeries, models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=16, choices=Kind)
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    n_bars = models.PositiveIntegerField(default=1)
    detail = models.CharField(max_length=300)
    found_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-start_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["series", "kind", "start_at"],
                name="marketdata_qualityfinding_unique_finding",
            ),
            choices_check(
                "marketdata_qualityfinding_kind",
                "kind",
                ["gap", "suspected_split", "zero_volume", "outside_calendar"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} from {self.start_at:%Y-%m-%d}"


class BarRevision(models.Model):
    """A restated bar: which values changed, when, and what they were."""

    series = models.ForeignKey(BarSeries, models.CASCADE, related_name="revisions")
    opened_at = models.DateTimeField()
    old_values = models.JSONField()
    new_values = models.JSONField()
    import_run = models.ForeignKey(
        ImportRun, models.SET_NULL, null=True, blank=True, related_name="revisions"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        ordering = ["-recorded_at"]
        # The restatements of one series, newest first.
        indexes = [
            models.Index(fields=["series", "-recorded_at"], name="marketdata_revision_newest")
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.opened_at:%Y-%m-%d %H:%M} restated"

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The values that changed, old and new, by column."""
        return {
            name: (self.old_values.get(name), new)
            for name, new in self.new_values.items()
            if self.old_values.get(name) != new
        }


class FeedPosition(models.Model):
    """How far a replay has come. It moves in the transaction that stores the bars."""

    name = models.CharField(primary_key=True, max_length=60)
    # The stored series that is replayed, by symbol: chosen once, so that sources are never mixed.
    series = models.JSONField(default=dict)
    starts_at = models.DateTimeField(help_text="Bars that close later are the live period.")
    position_at = models.DateTimeField(help_text="Every bar that closed by then is stored.")
    stepped_at = models.DateTimeField(help_text="When the last step was taken, by the clock.")
    n_bars = models.PositiveBigIntegerField(default=0)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(position_at__gte=F("starts_at")),
                name="marketdata_feedposition_moves_forward",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.position_at:%Y-%m-%d %H:%M}"


class CallBudget(models.Model):
    """The newest calls promised to a vendor, by all processes together."""

    name = models.CharField(primary_key=True, max_length=60)
    promised_at = ArrayField(models.DateTimeField(), default=list)

    def __str__(self) -> str:
        return self.name
