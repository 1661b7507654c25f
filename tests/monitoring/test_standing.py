"""What verification says of a strategy reaches the portfolio's status trigger."""

from __future__ import annotations

import pytest

from alphastrat.core import events
from monitoring.models import Verification
from portfolio.models import StrategyStanding
from portfolio.services.portfolio_state import take_snapshot
from tests.factories import make_user
from tests.portfolio.risk_builders import AT, make_portfolio


@pytest.mark.parametrize(
    ("status", "kept", "scale"),
    [("degraded", "degraded", 0.5), ("failed", "failed", 0.0), ("verified", "", 1.0)],
)
def test_a_status_scales_the_target_of_a_strategy(db, status, kept, scale):
    portfolio, accounts = make_portfolio(make_user(), n=2)
    strategy = accounts[0].strategy
    Verification.objects.create(strategy=strategy, status=status)
    for _ in range(2):
        events.verification_changed.send(sender=None, strategy_ids=[str(strategy.pk)])
    assert StrategyStanding.objects.get(strategy=strategy).verification == kept
    lines = {line.strategy_id: line for line in take_snapshot(portfolio, at=AT).lines}
    assert lines[strategy.pk].scale == scale
    assert lines[strategy.pk].target == pytest.approx(0.5 * scale)
    assert lines[accounts[1].strategy_id].scale == 1.0
