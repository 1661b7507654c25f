"""The first page shows what all strategies earn together, inside what was promised."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from django.utils.timezone import now

from monitoring.models import Expectation, Verification
from monitoring.overview_charts import performance
from monitoring.quant.cone import LEVELS
from monitoring.services import live_performance, packing, performance_validator
from monitoring.services.live_performance import live_performance as performance_of
from portfolio.models import Account
from strategies.models import BacktestRun, StrategyVersion
from tests.factories import make_user, signed_in
from tests.monitoring.alert_builders import NOW, firing, plain_strategy
from tests.monitoring.quant.builders import make_expected
from tests.monitoring.test_performance_monitor import trade

pytestmark = pytest.mark.django_db
ADDRESS = "/performance/"


@pytest.fixture(scope="module")
def expected():
    return make_expected()


def promise(strategy, expected) -> Expectation:
    """Give a strategy an expectation without running a backtest."""
    version = StrategyVersion.objects.create(
        strategy=strategy,
        number=1,
        plugin=strategy.plugin,
        symbols=["KO"],
        timeframe="1d",
        created_by=strategy.owner,
    )
    run = BacktestRun.objects.create(
        owner=strategy.owner,
        title="Promise",
        plugin=strategy.plugin,
        symbols=["KO"],
        timeframe="1d",
        start_at=NOW - timedelta(days=900),
        end_at=NOW,
        capital=1,
        requested_at=NOW,
    )
    return Expectation.objects.create(
        strategy=strategy,
        version=version,
        run=run,
        is_out_of_sample=False,
        frozen_at=NOW,
        n_bars=1250,
        n_trades=250,
        periods_per_year=252,
        returns=b"",
        envelope=packing.pack_expected(expected),
    )


@pytest.fixture
def trading(alice, expected):
    """Two strategies with a promise and equal capital: one up 3 %, one down 1 % since yesterday."""
    made = [plain_strategy(alice, name) for name in ("Up", "Down")]
    for strategy, returns in zip(made, ((0.01, 0.03), (0.0, -0.01)), strict=True):
        promise(strategy, expected)
        trade(strategy, *returns)
        Account.objects.filter(strategy=strategy).update(opened_at=NOW - timedelta(days=30))
    return made


def test_accounts_are_added_up_within_the_bands_of_their_promises(alice, trading, expected):
    found = performance_of(alice)
    up = 1.01 * 1.03 - 1
    np.testing.assert_allclose(found.path.live, [0.005, (up - 0.01) / 2])
    np.testing.assert_allclose(found.path.expected, np.expm1(expected.cone.centre[:2]), rtol=1e-5)
    np.testing.assert_allclose(
        found.path.quantiles, np.expm1(expected.cone.quantiles[:2]), rtol=1e-4, atol=1e-7
    )
    assert (found.n_accounts, found.n_promised) == (2, 2)
    assert found.times == [NOW - timedelta(days=1), NOW]


def test_it_is_the_path_that_the_verification_judges(alice, trading, expected):
    Account.objects.filter(strategy=trading[1]).update(closed_at=NOW)
    found = performance_of(alice)
    seen = performance_validator.examine(trading[0].pk, at=now()).assessment.paths
    np.testing.assert_allclose(found.path.live, np.expm1(seen.growth[0]))


def test_evidence_that_was_started_anew_begins_with_the_capital_of_then(alice, trading):
    Verification.objects.create(strategy=trading[0], evidence_from=NOW - timedelta(hours=1))
    found = performance_of(alice)
    grown = 101_000.0
    expected = (grown * 0.03 - 100_000 * 0.01) / (grown + 100_000)
    assert found.path.live[-1] == pytest.approx(expected)


def test_a_year_later_the_horizon_begins_again(alice, trading):
    Account.objects.update(opened_at=NOW - timedelta(days=366))
    assert len(performance_of(alice).times) == 1


def test_intraday_bars_are_put_together_by_day(alice, expected):
    strategy = plain_strategy(alice)
    promise(strategy, expected)
    account = trade(strategy, 0.01, 0.01, 0.02)
    Account.objects.update(opened_at=NOW - timedelta(days=30))
    for hours, point in enumerate(account.equity_points.order_by("marked_at")[:2]):
        account.equity_points.filter(pk=point.pk).update(
            marked_at=NOW - timedelta(days=1, hours=3 - hours)
        )
    found = performance_of(alice)
    np.testing.assert_allclose(found.path.live, [0.0201, 1.0201 * 1.02 - 1])
    np.testing.assert_allclose(
        found.path.expected, np.expm1(expected.cone.centre[[1, 2]]), rtol=1e-5
    )


def test_accounts_in_several_currencies_count_alike(alice, trading):
    Account.objects.filter(strategy=trading[0]).update(currency="EUR", opening_cash=900_000)
    found = performance_of(alice)
    assert found.path.live[0] == pytest.approx(0.005)


def test_only_the_largest_accounts_are_added_up(alice, trading, monkeypatch):
    monkeypatch.setattr(live_performance, "MOST_ACCOUNTS", 1)
    Account.objects.filter(strategy=trading[1]).update(equity=500_000)
    found = performance_of(alice)
    assert (found.n_accounts, found.n_promised) == (1, 2)
    assert found.path.live[-1] == pytest.approx(-0.01)
    assert performance(found).caption.startswith("The largest 1 of 2 strategies stand at −1.00%")


def test_the_caption_says_where_it_stands(alice, trading):
    caption = performance(performance_of(alice)).caption
    assert caption.startswith("2 strategies stand at +1.52% since 8 Mar 2026, where +")
    assert "inside what 95 % of promised paths allow" in caption


def test_a_path_that_left_its_bands_is_said_to_be_outside(alice, trading):
    trade(trading[1], 0.0, -0.4)
    assert "below what 95 %" in performance(performance_of(alice)).caption


def test_without_a_promise_or_a_bar_there_is_no_chart(alice, expected):
    strategy = plain_strategy(alice)
    trade(strategy, 0.01)
    client = signed_in(alice)
    assert performance_of(alice) is None
    assert "live-performance" not in client.get("/").content.decode()
    assert client.get(ADDRESS).status_code == 404
    promise(strategy, expected)
    Account.objects.update(marked_to=None)
    assert performance_of(alice) is None


def test_the_page_brings_the_picture_and_the_figure_is_fetched(alice, trading):
    client = signed_in(alice)
    html = client.get("/").content.decode()
    assert f'data-src="{ADDRESS}"' in html
    assert "data-follow" in html
    assert '<polygon data-role="band"' in html
    assert "2 strategies stand at" in html
    drawn = json.loads(client.get(ADDRESS).content)
    roles = [trace["meta"]["role"] for trace in drawn["data"]]
    assert roles == ["band"] * 6 + ["backtest", "live"]
    assert drawn["meta"]["summary"].startswith("2 strategies")
    assert client.get(ADDRESS, {"format": "svg"}).content.startswith(b"<svg")
    lines = b"".join(client.get(ADDRESS, {"format": "csv"}).streaming_content).decode().splitlines()
    assert lines[0].startswith("time,live,promised,low_95")
    assert len(lines) == 3


def test_everybody_sees_their_own(trading):
    assert performance_of(make_user("bob")) is None
    assert performance_of(make_user("root", role="admin")).n_accounts == 2


@pytest.mark.parametrize("n", [2, 20])
def test_the_first_page_costs_the_same_however_many_are_added_up(
    alice, expected, n, django_assert_num_queries
):
    for i in range(n):
        strategy = plain_strategy(alice, f"S{i}")
        promise(strategy, expected)
        trade(strategy, 0.0, -0.03)
        firing(alice, cause=f"c{i}", strategy_id=strategy.pk)
    client = signed_in(alice)
    client.get("/")
    # Session, user, live heads, jobs under way, jobs, recent runs, processes; what trades, its
    # curves, firing alerts, what they earn together.
    with django_assert_num_queries(11):
        client.get("/")
    with django_assert_num_queries(3):
        client.get(ADDRESS)


def test_the_levels_of_the_bands_are_kept():
    assert {0.025, 0.1, 0.25, 0.75, 0.9, 0.975} <= set(LEVELS)
