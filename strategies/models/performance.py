"""The headline numbers of a strategy at a time, as the mission names them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check


class PerformanceSource(models.TextChoices):
    """Where the numbers were earned."""

    BACKTEST = "backtest", "Backtest"
    PAPER = "paper", "Paper"
    LIVE = "live", "Live"


def ratio_column() -> models.DecimalField:
    """Return a nullable metric column: NULL is undefined, never a sentinel."""
    return models.DecimalField(max_digits=16, decimal_places=6, null=True, blank=True)


class StrategyPerformance(models.Model):
    """Performance of a strategy up to a time; appended, never changed.

    The mission's `date` is `measured_at`, because intraday strategies have more than one value a
    day; its NOT NULL metrics are nullable, because a ratio can be undefined.
    """

    Source = PerformanceSource

    strategy = models.ForeignKey("strategies.Strategy", models.PROTECT, related_name="performance")
    run = models.ForeignKey(
        "strategies.BacktestRun", models.CASCADE, null=True, blank=True, related_name="+"
    )
    source = models.CharField(max_length=8, choices=PerformanceSource)
    measured_at = models.DateTimeField()
    total_return = ratio_column()
    annual_return = ratio_column()
    volatility = ratio_column()
    sharpe_ratio = ratio_column()
    sortino_ratio = ratio_column()
    calmar_ratio = ratio_column()
    max_drawdown = ratio_column()
    win_rate = ratio_column()
    profit_factor = ratio_column()
    total_trades = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "strategy_performance"
        ordering = ["-measured_at"]
        constraints = [
            choices_check("strategies_performance_source", "source", PerformanceSource.values),
            # A run that is delivered twice writes its numbers once.
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(run__isnull=False),
                name="strategies_performance_one_per_run",
            ),
            models.CheckConstraint(
                condition=Q(source="backtest") ^ Q(run__isnull=True),
                name="strategies_performance_backtest_has_run",
            ),
        ]
        # The newest numbers of one strategy and source.
        indexes = [
            models.Index(
                fields=["strategy", "source", "-measured_at"],
                name="strategies_performance_newest",
            )
        ]

    def __str__(self) -> str:
        return f"{self.strategy_id} {self.source} {self.measured_at:%Y-%m-%d}"
