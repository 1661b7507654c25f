"""Live strategies with a backtest, an expectation and an account that follows its shadow."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.models import Job
from alphastrat.marketdata.models import Instrument
from monitoring.models import Expectation, Shadow
from monitoring.services import expectations, packing, shadow
from monitoring.services.binary import moment_of
from portfolio.models import Account, EquityPoint, Fill
from strategies.models import BacktestRun, Strategy
from strategies.services import run_archive
from strategies.services.backtesting import request_backtest
from strategies.services.lifecycle import StrategyDraft, create_strategy
from strategies.services.specification import of_version
from strategies.services.strategy_engine import generate_signals

AT = datetime(2018, 2, 7, 22, tzinfo=UTC)
OPENED_AT = datetime(2017, 2, 20, tzinfo=UTC)
COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0}
PLUGIN = "rsi_mean_reversion"


def make_strategy(owner: Any, name: str = "Reversion", *, symbols: Any = ("AAPL", "JPM", "KO")):
    draft = StrategyDraft(
        name=name,
        plugin=PLUGIN,
        symbols=list(symbols),
        parameters={"period": 5, "oversold": 40.0, "exit_level": 55.0},
    )
    return create_strategy(owner, draft)


def make_run(strategy: Strategy) -> BacktestRun:
    """Run a backtest of the current version up to the day before trading began."""
    asked = of_version(
        strategy.current_version,
        start=date(2013, 6, 3),
        end=OPENED_AT.date(),
        costs=COSTS,
    )
    run = request_backtest(strategy.owner, asked, at=AT, version=strategy.current_version)
    jobs.run_job(str(Job.objects.get(key=f"backtest:{run.pk}").pk))
    run.refresh_from_db()
    assert run.status == "succeeded", run.failure_reason
    return run


def make_promised(owner: Any, name: str = "Reversion") -> tuple[Strategy, Expectation]:
    strategy = make_strategy(owner, name)
    make_run(strategy)
    return strategy, expectations.freeze(strategy, at=AT)


def make_account(strategy: Strategy, *, marked_to: datetime = AT) -> Account:
    Strategy.objects.filter(pk=strategy.pk).update(state="paper", state_changed_at=OPENED_AT)
    strategy.refresh_from_db()
    return Account.objects.create(
        strategy=strategy,
        opening_cash=Decimal(100_000),
        costs=COSTS,
        opened_at=OPENED_AT,
        marked_to=marked_to,
        decided_to=marked_to,
        revision=1,
    )


def trade_like_shadow(account: Account, *, worse_bps: float = 0.0, drift: float = 0.0) -> Shadow:
    """Give an account the fills and equity of its own shadow, worse if asked for."""
    shadow.refresh([account.pk], at=AT)
    found = Shadow.objects.get(account=account)
    times, returns = packing.unpack_curve(found.curves)
    mark(account, times, returns + drift)
    fills = run_archive.unpack_trips(found.fills)
    instruments = dict(Instrument.objects.values_list("symbol", "pk"))
    Fill.objects.bulk_create(
        Fill(
            account=account,
            instrument_id=instruments[row.symbol],
            source="paper",
            execution_id=str(uuid4()),
            side="buy" if row.quantity > 0 else "sell",
            quantity=Decimal(f"{abs(row.quantity):.8f}"),
            price=Decimal(f"{row.price * (1 + np.sign(row.quantity) * worse_bps * 1e-4):.8f}"),
            commission=Decimal(f"{row.fee:.4f}"),
            # An hour before the close of its bar.
            filled_at=moment_of(row.time - 3_600_000_000),
            recorded_at=AT,
        )
        for row in fills.itertuples()
    )
    Account.objects.filter(pk=account.pk).update(revision=2)
    shadow.refresh([account.pk], at=AT)
    return Shadow.objects.get(account=account)


def give_signals(strategy: Strategy, *, since: datetime = OPENED_AT, until: datetime = AT) -> None:
    """Have the engine give the signals of every bar in between, a month at a time."""
    mine = Strategy.objects.filter(pk=strategy.pk)
    known_at = since
    while known_at < until:
        known_at = min(known_at + timedelta(days=30 if known_at > since else 1), until)
        generate_signals(mine, at=now(), known_at=known_at)


def mark(account: Account, times: Any, returns: Any) -> None:
    """Store equity points with these returns."""
    equity = 100_000.0 * np.cumprod(1.0 + np.asarray(returns))
    EquityPoint.objects.bulk_create(
        EquityPoint(
            account=account,
            marked_at=moment_of(int(time)),
            cash=Decimal(f"{value:.4f}"),
            position_value=Decimal(0),
            equity=Decimal(f"{value:.4f}"),
            bar_return=float(change),
            gross_exposure=0.5,
        )
        for time, value, change in zip(times, equity, returns, strict=True)
    )
