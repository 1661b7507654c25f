"""Stored live signals against the shadow's own: what is injected is found, counted and told."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from alphastrat.marketdata.models import Bar, BarRevision
from monitoring.models import Alert, Shadow, Verification
from monitoring.services import observations, performance_validator, shadow, signal_divergence
from monitoring.services.performance_monitor import PerformanceMonitor
from portfolio.models import Account
from strategies.models import StrategySignal
from tests.factories import bearer, make_token, make_user, signed_in
from tests.monitoring.alert_builders import make_rule
from tests.monitoring.test_performance_monitor import SWEEP
from tests.monitoring.verification_builders import (
    AT,
    OPENED_AT,
    give_signals,
    make_account,
    make_promised,
    make_strategy,
    trade_like_shadow,
)
from tests.strategies.builders import make_market

pytestmark = pytest.mark.django_db
N_BARS, N_SYMBOLS = 244, 3


@pytest.fixture
def followed(alice):
    """A strategy that gave a signal of three instruments at every bar of a year."""
    make_market()
    strategy = make_strategy(alice)
    account = make_account(strategy)
    give_signals(strategy)
    trade_like_shadow(account)
    return strategy


@pytest.fixture
def judged(alice, sent):
    """The same with a promise and an account that does what its shadow does."""
    make_market()
    strategy, _ = make_promised(alice)
    account = make_account(strategy)
    give_signals(strategy)
    trade_like_shadow(account)
    performance_validator.evaluate([strategy.pk], at=AT)
    return strategy


def signal(symbol="KO", n=100, *, kind=None) -> StrategySignal:
    """Return the n-th signal of an instrument."""
    found = StrategySignal.objects.filter(instrument__symbol=symbol).order_by("closed_at")
    return list(found.filter(signal_type=kind) if kind else found)[n]


def change(one: StrategySignal, **values) -> None:
    StrategySignal.objects.filter(pk=one.pk).update(**values)


def bar_of(one: StrategySignal):
    return Bar.objects.filter(series__instrument=one.instrument, closed_at=one.closed_at)


def compare_anew() -> list[signal_divergence.DivergenceEntry]:
    """Compare everything again, as after a restatement."""
    Shadow.objects.update(revision=0)
    shadow.refresh(None, at=AT)
    return signal_divergence.entries(Shadow.objects.get().account.strategy)


def tallied():
    return observations.load(None, at=AT).signals


def found_words(entries):
    return [(one.symbol, one.kind, one.reason) for one in entries]


def verdict_of(strategy, *, at=AT):
    (found,) = performance_validator.evaluate([strategy.pk], at=at).verifications
    return found


def check_of(verdict):
    return next(one for one in verdict.checks if one.key == "signals")


def test_a_deterministic_strategy_differs_nowhere(followed):
    seen = tallied()
    assert seen.compared.sum() == N_BARS * N_SYMBOLS
    # The first ones are of the bar before, which the account began on.
    assert StrategySignal.objects.count() == (N_BARS + 1) * N_SYMBOLS
    assert len(seen.count) == 0
    assert signal_divergence.entries(followed) == []


def other_type(one):
    bought = {**one.metadata, "wish": 1}
    change(one, signal_type="BUY", target=1, metadata=bought)


def other_strength(one):
    change(one, strength=abs(one.strength - 0.5))


def other_price(one):
    change(one, strength=abs(one.strength - 0.5), price=one.price * 1.02)


def restated(one):
    other_strength(one)
    bar = bar_of(one).get()
    BarRevision.objects.create(
        series=bar.series,
        opened_at=bar.opened_at,
        old_values={"volume": 1},
        new_values={"volume": bar.volume},
        recorded_at=now(),
    )
    bar_of(one).update(ingested_at=now() + timedelta(minutes=1))


def came_late(one):
    other_strength(one)
    bar_of(one).update(ingested_at=now() + timedelta(minutes=1))


def missing(one):
    one.delete()


def missing_because_late(one):
    bar_of(one).update(ingested_at=now() + timedelta(minutes=1))
    one.delete()


@pytest.mark.parametrize(
    ("inject", "kind", "reason"),
    [
        (other_strength, "strength", "repaint"),
        (other_price, "strength", "restated"),
        (restated, "strength", "restated"),
        (came_late, "strength", "late"),
        (missing, "missing", "outage"),
        (missing_because_late, "missing", "late"),
    ],
)
def test_what_is_injected_comes_back_with_its_reason(followed, inject, kind, reason):
    inject(signal(kind="HOLD"))
    assert found_words(compare_anew()) == [("KO", kind, reason)]
    seen = tallied()
    assert seen.compared.sum() == N_BARS * N_SYMBOLS
    assert seen.count.tolist() == [1]


def test_a_signal_of_another_type_is_found_with_both_sides(followed):
    other_type(signal(kind="SELL", n=2))
    (found,) = compare_anew()
    assert (found.kind, found.live, found.again) == ("type", "buy", "sell")
    assert found.live_strength == pytest.approx(found.again_strength)


def test_a_signal_at_no_close_is_extra_and_leaves_one_missing(followed):
    one = signal(kind="HOLD")
    change(one, closed_at=one.closed_at + timedelta(hours=1))
    found = compare_anew()
    assert found_words(found) == [("KO", "extra", "restated"), ("KO", "missing", "outage")]
    assert found[0].again == ""
    assert found[1].live == ""


def test_a_whole_close_without_signals_is_an_outage(followed):
    StrategySignal.objects.filter(closed_at=signal(kind="HOLD").closed_at).delete()
    found = compare_anew()
    assert {one.reason for one in found} >= {"outage"}
    assert {one.symbol for one in found if one.kind == "missing"} == {"AAPL", "JPM", "KO"}


def test_signals_of_another_version_are_not_held_against_this_one(followed):
    version = followed.current_version
    version.pk, version.number = None, 2
    version.save()
    last = signal(n=-1)
    StrategySignal.objects.filter(closed_at__lt=last.closed_at - timedelta(days=20)).update(
        version=version, strength=0.123
    )
    assert compare_anew() == []
    assert 0 < tallied().compared.sum() < 20 * N_SYMBOLS


def test_what_is_followed_bar_by_bar_equals_what_is_compared_at_once(followed):
    other_type(signal("AAPL", 4, kind="SELL"))
    missing(signal("JPM", 60, kind="HOLD"))
    other_strength(signal("KO", -4))
    at_once = compare_anew()
    whole = bytes(Shadow.objects.get().signals)
    Shadow.objects.all().delete()
    for step in range(1, 13):
        until = OPENED_AT + (AT - OPENED_AT) * step / 12
        Account.objects.update(marked_to=until, revision=step)
        shadow.refresh(None, at=AT)
    stored = Shadow.objects.get()
    assert bytes(stored.signals) == whole
    assert signal_divergence.entries(followed) == at_once
    assert len(at_once) >= 3


def test_only_the_newest_signals_are_read_again(followed, monkeypatch):
    read = []
    given_of = signal_divergence._given
    monkeypatch.setattr(
        signal_divergence, "_given", lambda parts: read.append(given_of(parts)) or read[-1]
    )
    Account.objects.update(revision=9)
    shadow.refresh(None, at=AT)
    assert sum(len(one) for one in read) == signal_divergence.MAX_CATCH_UP * N_SYMBOLS
    assert tallied().compared.sum() == N_BARS * N_SYMBOLS


def test_signals_that_are_caught_up_with_are_no_longer_missing(followed):
    kept = list(StrategySignal.objects.filter(closed_at__gt=AT - timedelta(days=15)))
    for one in kept:
        one.delete()
    Account.objects.update(revision=8)
    shadow.refresh(None, at=AT)
    assert {one.kind for one in signal_divergence.entries(followed)} == {"missing"}
    StrategySignal.objects.bulk_create(kept)
    Account.objects.update(revision=9)
    shadow.refresh(None, at=AT)
    assert signal_divergence.entries(followed) == []


def test_a_bar_that_changed_without_a_word_is_compared_again(followed):
    one = signal(n=20, kind="HOLD")
    bar = bar_of(one).get()
    bar_of(one).update(close=bar.close * 0.8, low=bar.low * 0.75)
    bar.series.revision += 1
    bar.series.save()
    Account.objects.update(revision=9)
    shadow.refresh(None, at=AT)
    found = signal_divergence.entries(followed)
    assert (found[-1].time, found[-1].symbol) == (one.closed_at, "KO")
    assert found[-1].reason == "restated"


@pytest.mark.parametrize("n", [1, 3])
def test_the_statements_do_not_grow_with_the_accounts(alice, n, django_assert_num_queries):
    make_market()
    accounts = []
    for number in range(n):
        strategy = make_strategy(alice, f"Reversion {number}")
        accounts.append(make_account(strategy))
        give_signals(strategy, since=AT - timedelta(days=20))
    other_strength(signal(n=3))
    # Accounts, instruments of signals, fills, replay, series, blocks, exchanges; replay and series
    # of what is unexplained; shadows. Bars, signals and late bars go past Django's cursor.
    with django_assert_num_queries(10):
        shadow.refresh([one.pk for one in accounts], at=AT)


def test_the_verdict_counts_signals_that_agree(judged):
    found = verdict_of(judged)
    check = check_of(found)
    assert (check.state, check.value, check.low) == ("pass", 1.0, 1.0)
    assert check.e_value < 1
    assert f"All {N_BARS * N_SYMBOLS} signals equal" in check.text
    stored = Verification.objects.get(strategy=judged)
    assert stored.metrics["signal_divergence"] == 0.0
    assert stored.evidence["signals"] == {"n_compared": N_BARS * N_SYMBOLS, "n_differing": 0}
    assert found.status in ("verified", "monitoring")


def test_a_repaint_is_watched_and_said_with_numbers(judged):
    one = signal(n=230)
    other_strength(one)
    compare_anew()
    found = verdict_of(judged)
    check = check_of(found)
    assert check.state == "warn"
    assert "1 of 732 signals differs from the re-run (0.1 %), none expected" in check.text
    assert f"{one.closed_at:%-d %b %Y %H:%M} UTC (repaint)" in check.text
    assert found.status == "watch"
    assert "signals differs from the re-run" in found.reason
    assert found.signals["kinds"] == {"strength": 1}
    assert found.signals["first_at"] == one.closed_at.isoformat()


def test_an_explained_difference_is_shown_and_not_watched(judged):
    restated(signal(n=230))
    compare_anew()
    found = verdict_of(judged)
    assert check_of(found).state == "warn"
    assert found.status in ("verified", "monitoring")


def test_many_missing_signals_fail_the_check(judged):
    """A third of the bars: E is beyond 20, and live is not what was verified."""
    closes = sorted(set(StrategySignal.objects.values_list("closed_at", flat=True)))
    StrategySignal.objects.filter(closed_at__in=closes[60::3]).delete()
    compare_anew()
    found = verdict_of(judged)
    assert check_of(found).state == "fail"
    assert check_of(found).e_value > 20
    assert found.status == "watch"


def test_without_live_signals_the_check_says_insufficient_data(alice, sent):
    make_market()
    strategy, _ = make_promised(alice)
    trade_like_shadow(make_account(strategy))
    check = check_of(verdict_of(strategy))
    assert (check.state, check.value) == ("not_run", None)
    assert check.text == "Insufficient data: no live signal to compare yet."


def test_acknowledging_starts_the_comparison_anew(judged, alice):
    other_strength(signal(n=200))
    compare_anew()
    Verification.objects.update(evidence_from=signal(n=210).closed_at)
    check = check_of(verdict_of(judged))
    assert check.state == "pass"
    assert f"All {(N_BARS - 209) * N_SYMBOLS} signals" in check.text


def test_a_rule_can_be_about_signals_that_differ(followed, alice):
    make_rule(
        alice,
        metric="signal_divergence",
        comparator="above",
        warning_bound=0.001,
        critical_bound=None,
        clear_bound=None,
        window_bars=50,
        minimum_observations=30,
    )
    PerformanceMonitor().run_pass(SWEEP, at=AT)
    assert not Alert.objects.exists()
    other_strength(signal(n=-5))
    compare_anew()
    PerformanceMonitor().run_pass(SWEEP, at=AT)
    alert = Alert.objects.get()
    assert alert.value == pytest.approx(1 / (50 * N_SYMBOLS))
    assert "Signal divergence above" in alert.title


def test_the_page_and_the_api_show_what_differs(judged, alice):
    other_strength(signal(n=230))
    missing(signal("JPM", 60, kind="HOLD"))
    compare_anew()
    verdict_of(judged)
    client = signed_in(alice)
    address = reverse("monitoring:verification-detail", args=[judged.pk])
    html = client.get(address).content.decode()
    for words in (
        "Signals against the re-run",
        "732",
        "Missing live",
        "Outage or suspension",
    ):
        assert words in html
    lines = b"".join(client.get(address, {"format": "csv"}).streaming_content).decode().splitlines()
    assert len(lines) == 3
    rows = json.loads(b"".join(client.get(address, {"format": "json"}).streaming_content))
    assert [row["kind"] for row in rows] == ["strength", "missing"]
    _, token = make_token(alice)
    shown = Client().get(f"/api/v1/strategies/{judged.pk}/verification", headers=bearer(token))
    signals = shown.json()["signals"]
    assert (signals["n_compared"], signals["n_differing"]) == (732, 2)
    assert signals["reasons"] == {"repaint": 1, "outage": 1}
    assert signals["first_reason"] == "outage"
    listed = (
        Client()
        .get(f"/api/v1/strategies/{judged.pk}/signal-divergences", headers=bearer(token))
        .json()
    )
    assert [one["symbol"] for one in listed["items"]] == ["KO", "JPM"]
    _, other = make_token(make_user("charlie"))
    address = f"/api/v1/strategies/{judged.pk}/signal-divergences"
    assert Client().get(address, headers=bearer(other)).status_code == 404


def test_a_pass_without_new_bars_writes_what_the_shadow_found(judged):
    later = AT + timedelta(seconds=5)
    other_strength(signal(n=230))
    Shadow.objects.update(revision=0)
    shadow.refresh(None, at=later)
    performance_validator.evaluate([judged.pk], at=later + timedelta(seconds=1))
    assert Verification.objects.get().evidence["signals"]["n_differing"] == 1


def test_more_differences_than_are_kept_are_all_counted(followed, monkeypatch):
    monkeypatch.setattr(signal_divergence, "MOST_KEPT", 10)
    StrategySignal.objects.filter(instrument__symbol="KO").update(strength=0.0123)
    assert len(compare_anew()) == 10
    assert np.sum(tallied().count) > 100
