"""The beta of today's weights against a benchmark that a person chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.types import FloatArray
from portfolio.models import Portfolio
from portfolio.quant.market_beta import LEAST, WINDOW, MarketBeta, market_beta
from portfolio.services import benchmarks
from portfolio.services.strategy_returns import load as load_returns

METHOD = "Least squares on daily returns, Newey-West interval"
# What is compared with where nothing is chosen.
USUAL = benchmarks.UNIVERSE
WINDOWS = (60, 120, WINDOW, 500)


@dataclass(frozen=True, slots=True)
class PortfolioBeta:
    """A beta with all that names it; dates are None without a common day."""

    benchmark: str
    label: str
    window: int
    found: MarketBeta
    first_day: date | None
    last_day: date | None

    @property
    def reason(self) -> str:
        """Why there is no number; empty where there is one."""
        if self.found.is_known:
            return ""
        if self.found.n_bars < LEAST:
            return f"Insufficient data: {self.found.n_bars} common days of the {LEAST} needed."
        return "The benchmark does not move."


def window_of(written: str | int | None) -> int:
    """Return a window in days as it was asked for; the usual one for nothing.

    Raises InvalidInput for one that is not offered.
    """
    if written in (None, ""):
        return WINDOW
    if str(written) not in map(str, WINDOWS):
        offered = ", ".join(map(str, WINDOWS))
        raise InvalidInput("This window is not offered.", fields={"window": f"Choose {offered}."})
    return int(str(written))


def todays_returns(
    weights: Mapping[UUID, float], *, at: datetime
) -> tuple[Sequence[date], FloatArray]:
    """Return the days of the strategies' histories, and what given weights made on each."""
    returns = load_returns(list(weights), at=at)
    return returns.dates, np.nan_to_num(returns.matrix) @ np.array(list(weights.values()))


def portfolio_beta(
    portfolio: Portfolio,
    days: Sequence[date],
    returns: FloatArray,
    *,
    benchmark: str,
    window: int,
    at: datetime,
) -> PortfolioBeta:
    """Return the beta of returns over the newest days they share with a benchmark."""
    against = benchmarks.load(portfolio, benchmark, days, until=at)
    market = np.full(len(returns), np.nan) if against is None else against.returns
    found = market_beta(returns, market, window=window)
    common = [day for day, one in zip(days, np.isfinite(market), strict=True) if one][-window:]
    label = benchmark if against is None else against.label
    ends = (common[0], common[-1]) if common else (None, None)
    return PortfolioBeta(benchmark, label, window, found, *ends)


def as_json(beta: PortfolioBeta) -> dict[str, Any]:
    """Return the numbers of a beta for the API and for files."""
    found = beta.found
    return {
        "benchmark": beta.benchmark,
        "method": METHOD,
        "window": beta.window,
        "n_days": found.n_bars,
        "first_day": beta.first_day,
        "last_day": beta.last_day,
        "beta": found.value,
        "low": found.low,
        "high": found.high,
        "correlation": found.correlation,
        "reason": beta.reason,
    }


def benchmark_choices() -> list[tuple[str, str]]:
    """Return what a beta can be measured against: there is none against nothing."""
    return [one for one in benchmarks.choices() if one[0] != benchmarks.NONE]
