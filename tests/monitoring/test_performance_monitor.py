"""The monitor judges what is affected, all of it in one pass, and loses nothing."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alphastrat.core.models import Heartbeat
from alphastrat.core.notify import Wake
from alphastrat.marketdata.models import FeedPosition
from monitoring.models import Alert, Verification
from monitoring.services import (
    observations,
    performance_validator,
    rule_metrics,
    rules,
    standing_breaches,
)
from monitoring.services.performance_alerts import observe
from monitoring.services.performance_monitor import AFRESH_SECONDS, PerformanceMonitor
from monitoring.services.performance_validator import Verdict
from portfolio.models import Account, Portfolio, PortfolioMember, RiskAction, StrategyStanding
from tests.factories import make_user
from tests.monitoring.alert_builders import NOW, later, make_rule, plain_strategy

pytestmark = pytest.mark.django_db
SWEEP = Wake(is_sweep=True)


def trade(strategy, *returns, end=NOW) -> Account:
    """Open an account with one equity point a day, the last one at `end`."""
    account, _ = Account.objects.get_or_create(
        strategy=strategy,
        defaults={"opening_cash": 100_000, "opened_at": end - timedelta(days=400)},
    )
    account.equity_points.all().delete()
    equity = 100_000.0
    for i, change in enumerate(returns):
        equity *= 1 + change
        account.equity_points.create(
            marked_at=end - timedelta(days=len(returns) - 1 - i),
            cash=round(equity, 4),
            position_value=0,
            equity=round(equity, 4),
            bar_return=change,
        )
    Account.objects.filter(pk=account.pk).update(
        revision=account.revision + len(returns), marked_to=end
    )
    account.refresh_from_db()
    return account


class Watch:
    """A monitor with a clock of its own."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.monitor = PerformanceMonitor(clock=self.now, stopwatch=lambda: self.seconds)

    def now(self):
        return later(self.seconds)

    def look(self, wake=SWEEP):
        return self.monitor.run_pass(wake, at=self.now())


@pytest.fixture
def watch() -> Watch:
    return Watch()


def firing():
    return {alert.subject for alert in Alert.objects.open().select_related("strategy", "portfolio")}


def woken(account) -> Wake:
    return Wake({"monitor": frozenset({f"account:{account.pk}"})})


def test_a_breach_fires_and_ends_with_the_clear_bound(alice, watch):
    rule = make_rule(alice)
    account = trade(plain_strategy(alice), 0.01, -0.07)
    assert watch.look().n_alerts == 1
    alert = Alert.objects.get()
    assert (alert.rule, alert.severity, alert.breached_at) == (rule, "warning", NOW)
    assert alert.value == pytest.approx(-0.07)
    assert alert.evidence["rule_version"] == 1
    for returns, state in (
        ((0.01, -0.04), "firing"),  # between the clear bound and the bound
        ((0.01, -0.02), "resolved"),
    ):
        account = trade(account.strategy, *returns)
        watch.look(woken(account))
        alert.refresh_from_db()
        assert alert.state == state


def test_only_what_is_affected_is_judged(alice, watch):
    make_rule(alice)
    accounts = [trade(plain_strategy(alice, f"S{i}"), 0.01, 0.0) for i in range(5)]
    assert watch.look().n_strategies == 5
    assert watch.look().n_strategies == 0
    account = trade(accounts[2].strategy, 0.01, -0.2)
    assert watch.look(woken(account)).n_strategies == 1
    assert firing() == {"S2"}


def test_a_change_that_nobody_announced_is_found_by_the_next_sweep(alice, watch):
    make_rule(alice)
    strategy = plain_strategy(alice)
    trade(strategy, 0.01)
    watch.look()
    trade(strategy, 0.01, -0.2)
    assert watch.look().n_alerts == 1


def test_everything_is_judged_afresh_in_every_minute_a_part_at_a_time(alice, watch):
    for i in range(25):
        trade(plain_strategy(alice, f"S{i}"), 0.01)
    assert watch.look().n_strategies == 25
    watch.seconds = AFRESH_SECONDS - 1
    assert watch.look().n_strategies == 0
    watch.seconds = AFRESH_SECONDS
    assert watch.look(Wake({"monitor": frozenset({"other"})})).n_strategies == 0
    assert [watch.look().n_strategies for _ in range(10)] == [3] * 8 + [1, 0]


def test_what_changed_without_a_revision_is_found_within_the_minute(alice, watch):
    make_rule(alice)
    account = trade(plain_strategy(alice), 0.01, 0.0)
    watch.look()
    account.equity_points.filter(marked_at=NOW).update(bar_return=-0.2)
    watch.look(woken(account))
    assert firing() == set()
    watch.seconds = AFRESH_SECONDS
    watch.look()
    assert firing() == {"RSI"}


def test_rules_alert_before_verdicts_are_given_and_even_without(alice, watch, monkeypatch):
    make_rule(alice)
    account = trade(plain_strategy(alice), 0.01, -0.2)
    with monkeypatch.context() as patch:
        patch.setattr(performance_validator, "evaluate", broken)
        with pytest.raises(ZeroDivisionError):
            watch.look(woken(account))
    assert firing() == {"RSI"}
    assert not Verification.objects.exists()
    assert watch.look().n_strategies == 1
    assert Alert.objects.count() == Verification.objects.count() == 1


def broken(*_arguments, **_options):
    raise ZeroDivisionError


def test_rules_about_verdicts_follow_them(alice, watch):
    make_rule(
        alice,
        metric="e_value",
        comparator="above",
        warning_bound=0.5,
        critical_bound=None,
        clear_bound=None,
    )
    make_rule(alice, "Day")
    trade(plain_strategy(alice), 0.01, -0.2)
    watch.look()
    assert set(Alert.objects.values_list("metric", flat=True)) == {"drawdown", "e_value"}


def test_a_changed_rule_is_judged_at_once(alice, bob, watch):
    trade(plain_strategy(alice), 0.01, -0.04)
    trade(plain_strategy(bob), 0.01, -0.04)
    rule = make_rule(alice)
    watch.look()
    assert firing() == set()
    rules.change_rule(rule.pk, {"warning_bound": -0.02, "clear_bound": -0.01}, expected_version=1)
    done = watch.look(Wake({"monitor": frozenset({f"rule:{rule.pk}"})}))
    assert (done.n_strategies, firing()) == (1, {"RSI"})


def test_a_rule_of_a_strategy_replaces_the_rule_for_all(alice, watch):
    strict, loose = plain_strategy(alice, "Strict"), plain_strategy(alice, "Loose")
    make_rule(alice)
    make_rule(
        alice,
        "Loose one",
        scope="strategy",
        strategy=loose,
        warning_bound=-0.5,
        critical_bound=-0.6,
        clear_bound=None,
    )
    for strategy in (strict, loose):
        trade(strategy, 0.01, -0.2)
    watch.look()
    assert firing() == {"Strict"}


def test_a_rule_looks_only_at_its_owners_strategies(alice, bob, watch):
    make_rule(alice)
    trade(plain_strategy(bob, "Bob's"), 0.01, -0.2)
    watch.look()
    assert firing() == set()


def test_a_portfolio_is_judged_as_a_whole(alice, watch):
    portfolio = Portfolio.objects.create(owner=alice, name="Core")
    strategies = [plain_strategy(alice, f"S{i}") for i in range(2)]
    for strategy in strategies:
        PortfolioMember.objects.create(portfolio=portfolio, strategy=strategy, added_at=NOW)
    make_rule(alice, scope="portfolio", portfolio=portfolio)
    trade(strategies[0], 0.0, -0.08)
    account = trade(strategies[1], 0.0, 0.08)
    watch.look()
    assert firing() == set()  # the two offset each other
    account = trade(strategies[1], 0.0, -0.04)
    assert watch.look(woken(account)).n_strategies == 2
    alert = Alert.objects.get()
    assert (alert.subject, alert.value) == ("Core", pytest.approx(-0.06))


def test_a_rule_is_quiet_outside_its_exchange_hours(alice, watch):
    # NOW is a Monday, 14:30 UTC: an hour into the session in New York.
    make_rule(alice, active_calendar="XNYS")
    trade(plain_strategy(alice), 0.01, -0.2)
    watch.seconds = -2 * 3600
    watch.look()
    assert firing() == set()
    watch.seconds = 0
    watch.look()
    assert firing() == {"RSI"}


def test_missing_data_alerts_only_where_the_rule_says_so(alice, watch):
    needs = {"metric": "sharpe_ratio", "window_bars": 60, "minimum_observations": 40}
    bounds = {"warning_bound": 0.0, "critical_bound": None, "clear_bound": None}
    make_rule(alice, "Patient", **needs, **bounds)
    trade(plain_strategy(alice), 0.01)
    watch.look()
    assert firing() == set()
    make_rule(alice, "Impatient", no_data_policy="alert", **needs, **bounds)
    watch.seconds = AFRESH_SECONDS
    watch.look()
    assert Alert.objects.get().title == "No data: Sharpe ratio of RSI"


def test_a_pending_breach_fires_in_a_later_sweep_without_news(alice, watch):
    make_rule(alice, pending_seconds=30)
    trade(plain_strategy(alice), 0.01, -0.2)
    watch.look()
    watch.seconds = 29
    watch.look()
    assert Alert.objects.get().state == "pending"
    watch.seconds = 31
    watch.look()
    assert Alert.objects.get().state == "firing"


def test_a_verdict_is_an_alert_that_ends_with_a_better_one(alice, watch):
    strategy = plain_strategy(alice)
    trade(strategy, 0.01)

    def verdict(status):
        words = SimpleNamespace(reason="E = 24", checks=(), signals={})
        return Verdict(
            strategy.pk, alice.pk, "RSI", "", status, 55.0, 1.0, 24.0, "none", NOW, words
        )

    def say(status, second):
        at = later(second)
        observe(standing_breaches.of_verdicts([verdict(status)], at=at, recorded_at=at), at=at)
        return [(one.state, one.severity) for one in Alert.objects.order_by("evaluated_at")]

    def told():
        return Alert.objects.get().events.filter(kind="worsened").count()

    assert say("monitoring", 0) == []
    assert say("watch", 1) == [("firing", "warning")]
    assert say("degraded", 2) == [("firing", "critical")]
    assert told() == 1
    say("failed", 2.5)
    assert (Alert.objects.get().title, told()) == ("Verification: failed", 2)
    say("failed", 2.6)
    say("degraded", 2.7)
    assert (Alert.objects.get().title, told()) == ("Verification: failed", 2)  # easing is not told
    assert say("insufficient", 3) == [("firing", "critical")]
    assert say("verified", 4) == [("resolved", "critical")]


def test_a_limit_that_stops_trading_alerts_and_a_person_who_does_not(alice):
    strategies = [plain_strategy(alice, name) for name in ("By limit", "By hand")]
    for strategy, code in zip(strategies, ("MAX_DRAWDOWN", "MANUAL"), strict=True):
        RiskAction.objects.create(
            strategy=strategy, taken_at=NOW, trading_state="halted", code=code, reason="Because"
        )
        StrategyStanding.objects.create(
            strategy=strategy, trading_state="halted", reason="Because", changed_at=NOW
        )
    observe(standing_breaches.of_trading_states(at=NOW), at=NOW)
    assert firing() == {"By limit"}
    StrategyStanding.objects.update(reason="Everything is closed")
    observe(standing_breaches.of_trading_states(at=later(4)), at=later(4))
    assert Alert.objects.get().detail == "Everything is closed"
    StrategyStanding.objects.update(trading_state="active")
    observe(standing_breaches.of_trading_states(at=later(5)), at=later(5))
    assert firing() == set()


def test_a_process_that_falls_silent_alerts_the_administrators(watch):
    make_user("root", role="admin")
    Heartbeat.objects.create(
        process="feed", host="a", pid=1, started_at=NOW, beat_at=NOW - timedelta(seconds=90)
    )
    watch.look()
    assert not Alert.objects.exists(), "started with the monitor, it may come back yet"
    watch.seconds += 61
    watch.look()
    assert Alert.objects.get().title == "No sign of life of the feed"
    Heartbeat.objects.update(beat_at=watch.now())
    watch.look()
    assert Alert.objects.get().state == "resolved"


def test_a_pass_costs_the_same_number_of_statements_for_many(alice, watch):
    make_rule(alice)

    def cost(n):
        Account.objects.all().delete()
        for i in range(n):
            trade(plain_strategy(alice, f"{n} {i}"), 0.01, -0.2)
        watch.seconds += AFRESH_SECONDS
        with CaptureQueriesContext(connection) as queries:
            done = watch.look()
        assert done.n_alerts == n
        return len(queries)

    assert cost(2) == cost(20)


def test_the_heartbeat_tells_how_long_passes_take(alice, watch):
    trade(plain_strategy(alice), 0.01)
    watch.look()
    told = watch.monitor.summary()
    assert (told["n_passes"], told["n_strategies"]) == (1, 1)
    assert set(told["stored_ms"]) == {"p50", "p95", "p99", "max"}


def test_a_market_that_moves_on_while_strategies_are_read_makes_no_bar_late(
    alice, watch, settings, monkeypatch
):
    settings.FEED_PROVIDER, settings.FEED_TIMEFRAME = "replay", "1d"
    make_rule(
        alice, metric="days_since_bar", comparator="above", warning_bound=4, critical_bound=None
    )
    account = trade(plain_strategy(alice), 0.01, 0.0, end=NOW - timedelta(days=30))
    start = account.marked_to
    market = FeedPosition.objects.create(
        name="replay:1d", starts_at=start, position_at=start, stepped_at=NOW
    )
    read = observations.binary_rows

    def read_slowly(*asked):
        rows = read(*asked)
        market.position_at += timedelta(days=10)
        market.save()
        return rows

    with monkeypatch.context() as slow:
        slow.setattr(observations, "binary_rows", read_slowly)
        seen = observations.load(None, at=NOW)
    assert (seen.present == seen.newest).all()
    assert rule_metrics.values_of(seen, None).of_strategies("days_since_bar", None, 1) == [0.0]
    assert watch.look().n_alerts == 1  # the bars of these ten days are missing
    assert Alert.objects.get().value == pytest.approx(10)


def test_evidence_that_starts_anew_forgets_no_drawdown(alice, watch):
    strategy = plain_strategy(alice)
    trade(strategy, 0.1, -0.2, 0.0, 0.0)
    Verification.objects.create(strategy=strategy, evidence_from=NOW - timedelta(days=1))
    watch.look()
    assert Verification.objects.get().metrics["drawdown"] == pytest.approx(-0.2)


def test_a_clock_that_jumps_neither_doubles_nor_ends_nor_loses_an_alert(alice, watch):
    make_rule(alice)
    account = trade(plain_strategy(alice), 0.01, -0.07)
    watch.look()
    for seconds in (-86_400.0, 10 * 86_400.0, 5.0):
        watch.seconds = seconds
        watch.look(woken(account))
        assert [one.state for one in Alert.objects.all()] == ["firing"]
    trade(account.strategy, 0.01, 0.02)
    watch.look(woken(account))
    assert Alert.objects.get().state == "resolved"
