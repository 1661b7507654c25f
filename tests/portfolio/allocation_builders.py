"""Plain functions that make strategies with given daily returns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.core.money import to_decimal
from alphastrat.marketdata.models import Instrument
from alphastrat.quant.types import FloatArray
from portfolio.models import Account, EquityPoint, Portfolio
from portfolio.services.portfolios import MemberDraft, PortfolioDraft, create_portfolio
from strategies.models import BacktestRun, Strategy
from strategies.quant.signals import Signals
from strategies.quant.simulator import SimulationConfig, SimulationResult, simulate
from strategies.services.run_archive import Curves, pack_curves, pack_round_trips
from tests.strategies.builders import make_strategy

LAST_DAY = date(2026, 6, 30)
CAPITAL = 100_000.0


def closes(n_days: int, *, last: date = LAST_DAY) -> list[datetime]:
    """Return the closes of weekdays up to a last day, oldest first."""
    days = pd.bdate_range(end=last, periods=n_days)
    return [datetime(day.year, day.month, day.day, 20, tzinfo=UTC) for day in days]


def make_backtest(strategy: Strategy, returns: FloatArray, **fields: Any) -> BacktestRun:
    """Store a finished run whose equity has these daily returns."""
    times = closes(len(returns), last=fields.pop("last", LAST_DAY))
    equity = CAPITAL * np.cumprod(1.0 + returns)
    curves = Curves(
        times=pd.DatetimeIndex(times),
        symbols=("AAA",),
        capital=CAPITAL,
        equity=equity,
        benchmark=np.full(len(returns), np.nan),
        gross=np.ones(len(returns)),
        net=np.ones(len(returns)),
        positions=np.ones((len(returns), 1), dtype=np.float32),
    )
    values: dict[str, Any] = {
        "owner": strategy.owner,
        "strategy_version": strategy.current_version,
        "title": f"{strategy.name} backtest",
        "plugin": strategy.plugin,
        "symbols": ["AAA"],
        "timeframe": "1d",
        "start_at": times[0] - timedelta(hours=8),
        "end_at": times[-1] + timedelta(hours=1),
        "capital": Decimal("100000"),
        "status": "succeeded",
        "requested_at": times[-1],
        "finished_at": times[-1],
        "periods_per_year": 252.0,
        "curves": pack_curves(curves),
        "trades": pack_round_trips(untraded()),
    }
    return BacktestRun.objects.create(**{**values, **fields})


def untraded() -> SimulationResult:
    """Return what an account did that never traded."""
    index = pd.date_range("2024-01-01", periods=2, tz="UTC")
    bars = pd.DataFrame(1.0, index, ["open", "high", "low", "close", "volume"])
    nothing = Signals(index, np.zeros(2, np.uint8), np.zeros(2))
    return simulate(bars, nothing, config=SimulationConfig(periods_per_year=252))


def make_live(strategy: Strategy, returns: FloatArray, **fields: Any) -> Account:
    """Store a paper account whose equity has these daily returns; the first point has none."""
    times = closes(len(returns) + 1, last=fields.pop("last", LAST_DAY))
    account = Account.objects.create(
        strategy=strategy,
        opening_cash=to_decimal(CAPITAL, 4),
        opened_at=times[0] - timedelta(days=1),
        **fields,
    )
    equity = CAPITAL * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    EquityPoint.objects.bulk_create(
        EquityPoint(
            account=account,
            marked_at=time,
            cash=to_decimal(value, 4),
            position_value=0,
            equity=to_decimal(value, 4),
            bar_return=None if i == 0 else float(returns[i - 1]),
        )
        for i, (time, value) in enumerate(zip(times, equity.tolist(), strict=True))
    )
    return account


def make_book(owner: Any, n: int, *, n_days: int = 400, short: int = 0, seed: int = 1) -> Portfolio:
    """Make a portfolio of strategies with backtests; the last `short` have 20 days only."""
    Instrument.objects.get_or_create(symbol="AAA")
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0002, 0.004, n_days)
    drafts = []
    for i in range(n):
        strategy = make_strategy(owner, name=f"Strategy {i}", symbols=["AAA"])
        own = rng.normal(0.0006, 0.008 * (1 + i % 4 / 2), n_days) + common
        make_backtest(strategy, own[-20:] if i >= n - short else own)
        drafts.append(MemberDraft(strategy.pk))
    draft = PortfolioDraft("Main", members=tuple(drafts))
    return create_portfolio(owner, draft, at=closes(1)[0])
