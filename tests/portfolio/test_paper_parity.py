"""Paper trading does, bar by bar, exactly what one simulation of the same bars does."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import numpy as np
import pytest
from django.utils.timezone import now

from alphastrat.marketdata.models import BarSeries
from alphastrat.quant.calendars import periods_per_year
from alphastrat.quant.types import Timeframe
from portfolio.models import Account, EquityPoint, Fill, Order
from portfolio.services import accounting, execution
from strategies.models import Strategy
from strategies.quant import registry
from strategies.quant.kernel import Reason
from strategies.quant.signals import PanelSignals, panel_signals
from strategies.quant.simulator import SimulationConfig, SimulationResult, simulate
from strategies.services import strategy_engine
from strategies.services.configuration import check_costs, check_exits, check_sizing
from strategies.services.live_bars import load_live_panel
from tests.factories import make_user
from tests.portfolio.trading_builders import Replay, content, identity_gap, make_account
from tests.strategies.builders import make_market, make_strategy

pytestmark = pytest.mark.django_db
START, END = date(2016, 1, 4), date(2016, 6, 30)
COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0, "borrow_bps_per_year": 50.0}
SYMBOLS = ["AAPL", "JPM", "KO"]

CASES: dict[str, dict[str, Any]] = {
    "equal shares": {"plugin": "rsi_mean_reversion"},
    "all at once, the strongest first": {
        "plugin": "bollinger_breakout",
        "sizing": {"kind": "fixed_fraction", "fraction": 0.6},
    },
    "stop, target and cool-down": {
        "plugin": "macd_momentum",
        "exit_rules": {"stop_loss": 0.02, "take_profit": 0.03, "cooldown_bars": 3},
    },
    "trailing stop and time stop": {
        "plugin": "rsi_mean_reversion",
        "exit_rules": {"trailing_stop": 0.03, "max_bars": 7},
        "parameters": {"oversold": 45.0},
    },
    "volatility target, slippage by volatility": {
        "plugin": "macd_momentum",
        "sizing": {"kind": "volatility_target", "target": 0.2},
        "costs": {**COSTS, "slippage_volatility": 0.1},
    },
    "fixed risk to the stop": {
        "plugin": "bollinger_breakout",
        "sizing": {"kind": "fixed_risk", "fraction": 0.01},
        "exit_rules": {"stop_loss": 0.04},
    },
    "commissions by share with a minimum": {
        "plugin": "rsi_mean_reversion",
        "sizing": {"kind": "fixed_quantity", "quantity": 150},
        "costs": {"commission_per_share": 0.005, "commission_minimum": 1.0, "slippage_bps": 5.0},
    },
    "a share of Kelly": {
        "plugin": "macd_momentum",
        "sizing": {"kind": "kelly", "excess_return": 0.05, "multiple": 0.25},
    },
}


def simulated(account, *, n_bars: int) -> SimulationResult:
    """Simulate the live bars of an account, knowing the bars before it for the indicators."""
    version = account.strategy.current_version
    whole = load_live_panel(version.symbols, "1d")
    plugin = registry.build(version.plugin, version.parameters)
    answer = panel_signals(plugin, whole)
    first = whole.n_bars - n_bars
    panel = whole.window(first, whole.n_bars)
    rows = slice(first, None)
    wishes = PanelSignals(
        answer.index[rows], answer.symbols, answer.wishes[rows], answer.strength[rows]
    )
    config = SimulationConfig(
        periods_per_year=periods_per_year(Timeframe("1d"), "XNYS"),
        initial_cash=float(account.opening_cash),
        costs=check_costs(account.costs),
        exits=check_exits(version.exit_rules),
        sizing=check_sizing(version.sizing, n_symbols=len(version.symbols)),
    )
    return simulate(panel, wishes, config=config)


def trade(accounts: Collection[Account], replay: Replay) -> int:
    """Play all withheld bars: store, give signals, advance, as the feed does."""
    n_bars = 0
    strategies = Strategy.objects.filter(accounts__in=accounts)
    while replay.kept:
        at = replay.step()
        strategy_engine.generate_signals(strategies, at=now(), known_at=at)
        execution.advance([account.pk for account in accounts], at=now())
        n_bars += 1
    return n_bars


def open_cases() -> tuple[dict[str, Account], Replay]:
    """Put every case on paper beside the others, each of another owner."""
    strategies = {}
    for number, (case, options) in enumerate(CASES.items()):
        values = {key: value for key, value in options.items() if key != "costs"}
        owner = make_user(f"trader{number}")
        strategies[case] = make_strategy(owner, symbols=SYMBOLS, **values)
    Strategy.objects.update(state="paper")
    replay = Replay(start=START)
    opened_at = BarSeries.objects.get(instrument__symbol="KO").last_closed_at
    accounts = {
        case: make_account(
            strategy.owner,
            broker="paper",
            strategy=strategy,
            costs=CASES[case].get("costs", COSTS),
            at=opened_at,
        )
        for case, strategy in strategies.items()
    }
    return accounts, replay


def test_paper_fills_and_equity_equal_the_simulation():
    """Eight accounts trade side by side, and each as if it were alone."""
    make_market(*SYMBOLS, until=END)
    accounts, replay = open_cases()
    n_bars = trade(accounts.values(), replay)
    reasons: set[int] = set()
    for case, account in accounts.items():
        account.refresh_from_db()
        expected = simulated(account, n_bars=n_bars)
        check_fills(case, account, expected)
        check_marks(case, account, expected)
        reasons |= set(expected.fills.reason)
    # What each rule fills is among it; nobody is ruined within months.
    assert reasons == set(Reason) - {Reason.RUIN}


def check_fills(case: str, account: Account, expected: SimulationResult) -> None:
    found = Fill.objects.filter(account=account).order_by("filled_at", "execution_id")
    fills = list(found.select_related("instrument", "order"))
    assert len(fills) == len(expected.fills) > 8, case
    got = [(fill.filled_at.date(), fill.instrument.symbol, fill) for fill in fills]
    want = [
        (expected.index[t].date(), expected.symbols[j], q, p, c)
        for t, j, q, p, c in zip(
            expected.fills.bar,
            expected.fills.asset,
            expected.fills.quantity,
            expected.fills.price,
            expected.fills.commission,
            strict=True,
        )
    ]
    key = lambda row: (row[0], row[1])  # noqa: E731
    for (day, symbol, fill), (w_day, w_symbol, quantity, price, paid) in zip(
        sorted(got, key=key), sorted(want, key=key), strict=True
    ):
        assert (day, symbol) == (w_day, w_symbol)
        signed = float(fill.quantity) * (1 if fill.side == "buy" else -1)
        assert signed == pytest.approx(quantity, rel=1e-6, abs=1e-6)
        assert float(fill.price) == pytest.approx(price, abs=1e-7)
        assert float(fill.commission) == pytest.approx(paid, abs=1e-3)
    n_denied = Order.objects.filter(account=account, status="denied").count()
    assert n_denied == expected.n_denied


def check_marks(case: str, account: Account, expected: SimulationResult) -> None:
    points = list(EquityPoint.objects.filter(account=account).order_by("marked_at"))
    assert [point.marked_at for point in points] == [t.to_pydatetime() for t in expected.index], (
        case
    )
    equity = np.array([float(point.equity) for point in points])
    # Every fill and every borrow cost is rounded to a hundredth of a cent.
    np.testing.assert_allclose(equity, expected.equity, atol=0.02, rtol=0, err_msg=case)
    cash = np.array([float(point.cash) for point in points])
    np.testing.assert_allclose(cash, expected.cash, atol=0.02, rtol=0, err_msg=case)
    assert identity_gap(account) == 0

    derived = content(account)
    accounting.rebuild(account)
    assert content(account) == derived
