"""What is found wrong with a run once it has been examined: look-ahead, edges, thin margins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar

import pytest

from alphastrat.marketdata.models import BarSeries
from strategies.quant import registry
from strategies.quant.signals import Signals
from strategies.services import examination
from tests.strategies.builders import finished_run, make_market, sample_bars
from tests.strategies.search_builders import finished_sweep

pytestmark = pytest.mark.django_db


@pytest.fixture
def market():
    make_market()


def examined(run) -> dict[str, dict[str, Any]]:
    """Examine a run; return its findings by their code."""
    examination.examine_run(str(run.pk), report=lambda *_: None)
    run.refresh_from_db()
    return {finding["code"]: finding for finding in run.findings}


def test_looking_ahead_is_found_on_the_bars_of_the_run(alice, market, monkeypatch):
    @dataclass(frozen=True, slots=True)
    class Peeks(registry.Plugin):
        key: ClassVar[str] = "peeks"
        label: ClassVar[str] = "Peeks"
        warmup_bars: ClassVar[int] = 1

        def signals(self, bars):
            rises = (bars["close"].shift(-1) > bars["close"]).to_numpy()
            return Signals.of(bars, long_entry=rises, long_exit=~rises)

    monkeypatch.setitem(registry._plugins, "peeks", Peeks)
    found = examined(finished_run(alice, plugin="peeks"))
    assert found["lookahead"]["severity"] == "critical"
    assert "uses the future" in found["lookahead"]["text"]
    assert "implausible_sharpe" in found


def test_an_indicator_without_a_value_is_named_at_once_and_after_the_examination(
    alice, market, monkeypatch
):
    @dataclass(frozen=True, slots=True)
    class Blind(registry.Plugin):
        key: ClassVar[str] = "blind"
        label: ClassVar[str] = "Blind"
        warmup_bars: ClassVar[int] = 1

        def signals(self, bars):
            nothing = (bars["close"] * float("nan")).to_numpy()
            return Signals.of(bars, long_entry=nothing > 0, indicators={"mean": nothing})

    monkeypatch.setitem(registry._plugins, "blind", Blind)
    run = finished_run(alice, plugin="blind", parameters={}, symbols=("KO",))
    assert "undefined_indicator" in {finding["code"] for finding in run.findings}
    assert "mean has no value at any bar of KO" in examined(run)["undefined_indicator"]["text"]


def test_a_period_beyond_the_bars_is_found(alice, market):
    run = finished_run(alice, end=date(2031, 1, 1))
    assert "partial_coverage" in {finding["code"] for finding in run.findings}


def test_a_set_on_the_edge_of_its_sweep_is_found(alice, market):
    finished_sweep(alice)
    edge, inside, elsewhere = (
        finished_run(alice, symbols=("KO",), parameters={"period": period, "oversold": 30})
        for period in (4, 10, 11)
    )
    assert "grid_edge" in examined(edge)
    assert "grid_edge" not in examined(inside)
    assert "grid_edge" not in examined(elsewhere)


def test_costs_that_take_all_of_a_profit_are_found(alice, market):
    run = finished_run(alice, parameters={"period": 14, "direction": "long"})
    found = examined(run)
    margin = run.luck["costs"]["break_even_bps"]
    assert ("thin_margin" in found) == (0 < margin < 5)
    assert found.keys() >= {"few_trips"} or run.n_trades >= 30


def test_survivors_are_named_where_none_of_many_shares_has_ended_over_years(alice):
    symbols = sorted(sample_bars()["symbol"].unique())[:10]
    make_market(*symbols)
    run = finished_run(alice, symbols=tuple(symbols), start=date(2014, 1, 2))
    assert examined(run)["survivorship"]["evidence"]["n_instruments"] == 10
    # Two years are short, and nine are few.
    for changes in ({"start": date(2016, 1, 4)}, {"symbols": tuple(symbols[:9])}):
        asked = {"symbols": tuple(symbols), "start": date(2014, 1, 2), **changes}
        assert "survivorship" not in examined(finished_run(alice, **asked))
    # One of them was bought before the end of what is stored.
    ended = BarSeries.objects.get(instrument__symbol=symbols[0])
    BarSeries.objects.filter(pk=ended.pk).update(
        last_closed_at=ended.last_closed_at - timedelta(days=30)
    )
    assert "survivorship" not in examined(run)


def test_the_sample_market_is_known_to_hold_survivors_alone(alice, market):
    run = finished_run(alice)
    assert "survivorship" not in examined(run)
    BarSeries.objects.update(source="sample")
    assert "still existed in 2018" in examined(run)["survivorship"]["text"]
