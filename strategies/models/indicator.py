"""The indicator cache: values of one indicator on one series of bars."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from alphastrat.core.constraints import choices_check
from alphastrat.marketdata.models import TIMEFRAMES, BarSeries


class TechnicalIndicatorQuerySet(models.QuerySet["TechnicalIndicator"]):
    """Cached values by whether the bars have moved on since."""

    def current(self) -> TechnicalIndicatorQuerySet:
        """Return what was computed from the bars as they are: the only rows to read from."""
        return self.filter(revision=F("series__revision"))

    def outdated(self, series_ids: Any) -> TechnicalIndicatorQuerySet:
        """Return what belongs to an older revision of these series."""
        return self.filter(series__in=series_ids, revision__lt=F("series__revision"))


class TechnicalIndicator(models.Model):
    """An indicator on a series: its value at the newest bar, and all values before as arrays.

    A row is written whole and says which revision of the bars it was computed from, so it is
    never a mixture. `value` is what stands at `time`, by output, null where undefined; `history`
    followed by `tail` holds the values of every bar, bar after bar, in the order of `outputs`.
    The view `technical_indicator_values` shows one row per bar.
    """

    series = models.ForeignKey(BarSeries, models.CASCADE, related_name="indicators")
    # The database keeps it equal to the instrument's symbol, see the migration.
    symbol = models.CharField(max_length=40)
    indicator_type = models.CharField(max_length=20)
    timeframe = models.CharField(max_length=3, choices=TIMEFRAMES)
    parameters = models.JSONField()
    time = models.DateTimeField()
    value = models.JSONField()
    outputs = ArrayField(models.CharField(max_length=30))
    n_bars = models.PositiveBigIntegerField()
    history = ArrayField(models.FloatField())
    # Bars that came since: short, so that an append does not write the history again.
    tail = ArrayField(models.FloatField())
    revision = models.PositiveBigIntegerField()

    objects = TechnicalIndicatorQuerySet.as_manager()

    class Meta:
        db_table = "technical_indicators"
        indexes = [
            # A scan of the newest values of every instrument.
            models.Index(
                fields=["indicator_type", "timeframe", "symbol"],
                name="strategies_indicator_scan",
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["series", "indicator_type", "parameters"],
                name="strategies_technicalindicator_unique_request",
            ),
            choices_check(
                "strategies_technicalindicator_timeframe",
                "timeframe",
                [value for value, _ in TIMEFRAMES],
            ),
            models.CheckConstraint(
                condition=Q(n_bars__gt=0), name="strategies_technicalindicator_has_bars"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.indicator_type} of {self.symbol} {self.timeframe} at {self.time:%Y-%m-%d}"
