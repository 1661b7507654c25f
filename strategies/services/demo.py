"""What a first look at research should show: a strategy and a backtest over real bars.

The backtest ends before the replayed period begins: what it promises must not know what comes.
"""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from typing import Any

from alphastrat.core.errors import AlphaStratError
from alphastrat.marketdata.live_market import market_time
from alphastrat.marketdata.models import BarSeries, Instrument
from strategies.models import BacktestRun, Strategy
from strategies.services.backtesting import request_backtest
from strategies.services.lifecycle import StrategyDraft, create_strategy
from strategies.services.specification import of_version

logger = logging.getLogger(__name__)

NAME = "RSI mean reversion, large caps"
PREFERRED = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "KO", "PG", "WMT")
TITLE = "Before going live"
START, END = date(2014, 4, 1), date(2018, 2, 7)
COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0, "borrow_bps_per_year": 50.0}


def seed(owner: Any, *, at: datetime) -> BacktestRun | None:
    """Create the demo strategy and ask for its backtest; does nothing the second time.

    The period starts a year after the first bar, so that the indicators have settled.
    """
    strategy = Strategy.objects.filter(owner=owner, name=NAME).with_version().first()
    if strategy is None:
        symbols = _symbols()
        if not symbols:
            logger.warning("demo strategy not made: there are no daily bars")
            return None
        strategy = create_strategy(
            owner,
            StrategyDraft(
                name=NAME,
                description="Buys what has fallen too fast and sells short what has risen too "
                "fast; the classic of Wilder's book on eight large companies.",
                plugin="rsi_mean_reversion",
                symbols=symbols,
            ),
            reason="Demo content",
        )
    version = strategy.current_version
    if version is None or BacktestRun.objects.filter(strategy_version=version).exists():
        return None
    try:
        asked = of_version(
            version, start=START, end=last_day(at=at), costs=COSTS, title=f"{TITLE}: {NAME}"
        )
        return request_backtest(owner, asked, at=at, version=version)
    except AlphaStratError:
        logger.exception("demo backtest not asked for")
        return None


def last_day(*, at: datetime) -> date:
    """Return the last day that is history to the market that is followed."""
    return min(END, market_time("1d", at=at).date() - timedelta(days=1))


def _symbols() -> list[str]:
    """Return the preferred instruments, or the first eight that have bars in the period."""
    covered = BarSeries.objects.filter(
        timeframe="1d", first_opened_at__date__lt=START, last_closed_at__date__gte=END
    )
    held = set(Instrument.objects.filter(series__in=covered).values_list("symbol", flat=True))
    chosen = [symbol for symbol in PREFERRED if symbol in held]
    return chosen or sorted(held)[: len(PREFERRED)]
