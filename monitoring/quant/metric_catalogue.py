"""The metrics that threshold rules can be about: words and units, without the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveMetric:
    """One metric of a live strategy or portfolio.

    Attributes
    ----------
    label : str
        For people.
    format : str
        How a value is printed; values of the percent formats are fractions.
    description : str
        What it measures.
    needs_window : bool
        Whether a number of bars has to be given; otherwise a window is optional.
    higher_is_worse : bool
        The side that a rule usually watches.
    default_window : int or None
        Bars that a new rule begins with.
    has_window : bool
        Whether a window means anything.
    is_for_portfolios : bool
        Whether portfolios have it too.
    is_of_returns : bool
        Whether it follows from returns alone, so that chance can be simulated.
    """

    label: str
    format: str
    description: str
    needs_window: bool = False
    higher_is_worse: bool = False
    default_window: int | None = None
    has_window: bool = True
    is_for_portfolios: bool = False
    is_of_returns: bool = False

    @property
    def scale(self) -> float:
        """What a stored value is multiplied by for people: 100 for fractions in percent."""
        return 100.0 if self.format.endswith("percent") else 1.0

    @property
    def unit(self) -> str:
        """The unit people see, empty for a bare number."""
        units = {"percent": "%", "basis_points": "bp", "days": "days"}
        return units.get(self.format.removeprefix("signed_"), "")


METRICS: dict[str, LiveMetric] = {
    "day_return": LiveMetric(
        "Day's return",
        "signed_percent",
        "Return since the close of the day before (UTC).",
        has_window=False,
        is_for_portfolios=True,
        is_of_returns=True,
    ),
    "total_return": LiveMetric(
        "Return",
        "signed_percent",
        "Compounded return over the window, or since the account opened.",
        is_of_returns=True,
    ),
    "drawdown": LiveMetric(
        "Drawdown",
        "signed_percent",
        "Loss from the highest value within the window, or ever; never above zero.",
        is_for_portfolios=True,
        is_of_returns=True,
    ),
    "volatility": LiveMetric(
        "Volatility",
        "percent",
        "Standard deviation of returns, annualised.",
        needs_window=True,
        higher_is_worse=True,
        default_window=60,
        is_for_portfolios=True,
        is_of_returns=True,
    ),
    "sharpe_ratio": LiveMetric(
        "Sharpe ratio",
        "signed_ratio",
        "Mean over standard deviation of returns, annualised, no interest deducted.",
        needs_window=True,
        default_window=60,
        is_of_returns=True,
    ),
    "win_rate": LiveMetric(
        "Win rate",
        "percent",
        "Share of round trips closed within the window that gained.",
        needs_window=True,
        default_window=60,
    ),
    "trades_per_week": LiveMetric(
        "Round trips a week",
        "ratio",
        "Round trips entered within the window, per week.",
        needs_window=True,
        higher_is_worse=True,
        default_window=20,
    ),
    "slippage_bps": LiveMetric(
        "Slippage against the model",
        "basis_points",
        "How much worse fills were than the shadow's, mean over the window.",
        needs_window=True,
        higher_is_worse=True,
        default_window=60,
    ),
    "signal_divergence": LiveMetric(
        "Signal divergence",
        "percent",
        "Share of live signals that differ from those of the same version on the same bars.",
        higher_is_worse=True,
    ),
    "envelope_percentile": LiveMetric(
        "Place in the envelope",
        "percent",
        "Share of the paths the backtest allows for that are below the live one.",
        has_window=False,
    ),
    "e_value": LiveMetric(
        "Evidence of degradation",
        "ratio",
        "E-value: 20 is strong evidence, and looking often does not inflate it.",
        has_window=False,
        higher_is_worse=True,
    ),
    "health_score": LiveMetric(
        "Health score",
        "count",
        "Summary of the verification, 0 to 100.",
        has_window=False,
    ),
    "days_since_bar": LiveMetric(
        "Days since the last bar",
        "ratio",
        "Calendar days since the newest bar closed.",
        higher_is_worse=True,
        has_window=False,
    ),
    "exposure": LiveMetric(
        "Exposure",
        "percent",
        "Gross positions over equity at the newest bar.",
        higher_is_worse=True,
        has_window=False,
        is_for_portfolios=True,
    ),
    "tracking_error": LiveMetric(
        "Tracking error",
        "percent",
        "Standard deviation of live less shadow returns, annualised.",
        needs_window=True,
        higher_is_worse=True,
        default_window=60,
    ),
    "correlation_with_shadow": LiveMetric(
        "Correlation with the shadow",
        "ratio",
        "Of live and shadow returns.",
        needs_window=True,
        default_window=60,
    ),
}
