"""Signals as they were given, and what later turned out to differ."""

from __future__ import annotations

from typing import Any

from django.db import models

from alphastrat.core.constraints import bounded_check, choices_check

MAX_PRICE = 1e12


class SignalKind(models.TextChoices):
    """What a signal asks for, seen from the side held."""

    BUY = "BUY", "Buy"
    SELL = "SELL", "Sell"
    HOLD = "HOLD", "Hold"


class StrategySignalQuerySet(models.QuerySet["StrategySignal"]):
    """Signals by owner."""

    def for_user(self, user: Any) -> StrategySignalQuerySet:
        """Return the signals of the user's own strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(strategy__owner=user)

    def listed(self) -> StrategySignalQuerySet:
        """Return what a list shows, with the number of repaints of each."""
        return self.select_related("strategy", "version", "instrument").annotate(
            n_repaints=models.Count("repaints")
        )

    def with_sequel(self) -> StrategySignalQuerySet:
        """Add what came of each: the price at the next buy or sell, and what it is by now."""
        later = (
            StrategySignal.objects.filter(
                strategy=models.OuterRef("strategy"),
                instrument=models.OuterRef("instrument"),
                closed_at__gt=models.OuterRef("closed_at"),
            )
            .exclude(signal_type=SignalKind.HOLD)
            .order_by("closed_at")
        )
        repaints = SignalRepaint.objects.filter(signal=models.OuterRef("pk")).order_by("-found_at")
        return self.annotate(
            next_price=models.Subquery(later.values("price")[:1]),
            repainted_type=models.Subquery(repaints.values("signal_type")[:1]),
            repainted_because=models.Subquery(repaints.values("reason")[:1]),
        )


class StrategySignal(models.Model):
    """What a strategy wanted at one bar close, knowing no later bar; never changed.

    The mission's `date` is `closed_at`, because intraday strategies have more than one a day.
    """

    Kind = SignalKind

    strategy = models.ForeignKey("strategies.Strategy", models.PROTECT, related_name="signals")
    version = models.ForeignKey(
        "strategies.StrategyVersion", models.PROTECT, related_name="signals"
    )
    instrument = models.ForeignKey(
        "marketdata.Instrument", models.PROTECT, related_name="strategy_signals"
    )
    signal_type = models.CharField(max_length=4, choices=SignalKind)
    # Side wanted after the next open: 1 long, 0 flat, -1 short.
    target = models.SmallIntegerField()
    strength = models.FloatField()
    price = models.FloatField()
    closed_at = models.DateTimeField()
    generated_at = models.DateTimeField()
    metadata = models.JSONField(default=dict)

    objects = StrategySignalQuerySet.as_manager()

    class Meta:
        db_table = "strategy_signals"
        ordering = ["-closed_at", "instrument_id"]
        constraints = [
            # A bar that is announced twice gives its signals once; also the newest per strategy.
            models.UniqueConstraint(
                fields=["strategy", "instrument", "closed_at"],
                name="strategies_signal_one_per_bar",
            ),
            choices_check("strategies_signal_type", "signal_type", SignalKind.values),
            bounded_check("strategies_signal_strength", "strength", 0, 1),
            bounded_check("strategies_signal_price", "price", 0, MAX_PRICE),
            bounded_check("strategies_signal_target", "target", -1, 1),
        ]
        # The signals page, newest first.
        indexes = [models.Index(fields=["-closed_at"], name="strategies_signal_newest")]

    def __str__(self) -> str:
        return f"{self.signal_type} {self.instrument_id} at {self.closed_at:%Y-%m-%d %H:%M}"

    @property
    def cause(self) -> str:
        """Return the indicator values behind the signal, in words."""
        values = self.metadata.get("indicators", {})
        return ", ".join(
            f"{name} {value:,.4g}" for name, value in values.items() if value is not None
        )

    @property
    def outcome(self) -> float | None:
        """Return the move of the price until the next buy or sell, seen from the side taken.

        None while there is no next one, and where no side was taken. Needs `with_sequel`.
        """
        price: float | None = self.next_price  # type: ignore[attr-defined]
        if price is None or not self.target or not self.price:
            return None
        return self.target * (price / self.price - 1)

    @property
    def repaint(self) -> str:
        """Say what a repainted signal would be now, and why. Needs `with_sequel`."""
        kind: str | None = self.repainted_type  # type: ignore[attr-defined]
        if kind is None:
            return ""
        because: str = self.repainted_because  # type: ignore[attr-defined]
        return f"{SignalKind(kind).label} now: {because}"

    @property
    def latency(self) -> Any:
        """Return the time from the bar's close to the signal."""
        return self.generated_at - self.closed_at


class SignalRepaint(models.Model):
    """A signal that came out differently when it was computed again."""

    signal = models.ForeignKey(StrategySignal, models.CASCADE, related_name="repaints")
    found_at = models.DateTimeField()
    reason = models.CharField(max_length=120)
    signal_type = models.CharField(max_length=4, choices=SignalKind)
    target = models.SmallIntegerField()
    strength = models.FloatField()
    price = models.FloatField()
    metadata = models.JSONField(default=dict)

    class Meta:
        ordering = ["-found_at"]
        constraints = [
            choices_check("strategies_repaint_type", "signal_type", SignalKind.values),
            # The same different answer is recorded once.
            models.UniqueConstraint(
                fields=["signal", "signal_type", "strength", "price"],
                name="strategies_repaint_unique_answer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.signal} is now {self.signal_type}"


class StrategyCheck(models.Model):
    """The outcome of a look-ahead, warm-up or determinism check of a strategy's version."""

    version = models.ForeignKey("strategies.StrategyVersion", models.CASCADE, related_name="checks")
    name = models.CharField(max_length=20)
    passed = models.BooleanField()
    message = models.TextField()
    difference = models.JSONField(null=True, blank=True)
    reproduction = models.TextField(blank=True)
    checked_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "name"], name="strategies_check_one_per_version"
            ),
            choices_check("strategies_check_name", "name", ["lookahead", "warmup", "determinism"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} {'passed' if self.passed else 'failed'}"
