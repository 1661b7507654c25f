"""A paper account is its own shadow: no gap, no missed fill, in whatever way it trades."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from django.utils.timezone import now

from alphastrat.marketdata.models import BarSeries
from monitoring.models import Shadow
from monitoring.services import gap_ledger, observations, shadow
from portfolio.services import execution
from strategies.models import Strategy
from strategies.services import strategy_engine
from tests.factories import make_user
from tests.portfolio.trading_builders import Replay, make_account
from tests.strategies.builders import make_market, make_strategy

pytestmark = pytest.mark.django_db
SYMBOLS = ["AAPL", "JPM", "KO"]
COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0}


@pytest.mark.parametrize(
    "options",
    [
        {"plugin": "rsi_mean_reversion", "parameters": {"oversold": 45.0}},
        {"plugin": "macd_momentum", "exit_rules": {"stop_loss": 0.02, "take_profit": 0.03}},
    ],
    ids=["market orders", "protective exits"],
)
def test_a_paper_account_does_what_its_shadow_does(options):
    make_market(*SYMBOLS, until=date(2016, 6, 30))
    strategy = make_strategy(make_user("alice"), symbols=SYMBOLS, **options)
    Strategy.objects.update(state="paper")
    replay = Replay(start=date(2016, 1, 4))
    opened_at = BarSeries.objects.get(instrument__symbol="KO").last_closed_at
    account = make_account(None, broker="paper", strategy=strategy, costs=COSTS, at=opened_at)
    while replay.kept:
        at = replay.step()
        mine = Strategy.objects.filter(pk=strategy.pk)
        strategy_engine.generate_signals(mine, at=now(), known_at=at)
        execution.advance([account.pk], at=now())
        if len(replay.kept) % 40 == 0:
            shadow.refresh([account.pk], at=now())
    shadow.refresh([account.pk], at=now())
    live = observations.load([strategy.pk], at=now())
    both = ~np.isnan(live.returns) & ~np.isnan(live.shadow)
    assert both.sum() > 100
    np.testing.assert_allclose(live.returns[both], live.shadow[both], atol=2e-6)
    assert len(live.matches) > 8
    assert (live.matches.value == 1.0).all()
    np.testing.assert_allclose(live.fill_gaps_bps.value, 0.0, atol=0.05)
    assert Shadow.objects.get().n_bars == both.sum()
    compared = live.signals.compared.sum()
    assert compared > 100 * len(SYMBOLS)
    assert len(live.signals.count) == 0
    found = gap_ledger.explain(strategy)
    assert abs(found.ledger.gap_bps) < 0.1
    assert all(abs(one["bps"]) < 0.2 for one in found.causes)
