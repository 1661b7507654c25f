"""Accounts on one axis: hand-made curves whose answers can be seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strategies.quant.comparison import (
    MIN_COMMON_BARS,
    Track,
    common_period,
    drawdown_from,
    growth,
    return_correlations,
)


def days(first: str, n: int, hour: int = 21) -> pd.DatetimeIndex:
    return pd.date_range(f"{first} {hour}:00", periods=n, freq="D", tz="UTC")


def track(first: str, equity: list[float], *, hour: int = 21, capital: float = 100.0) -> Track:
    return Track(days(first, len(equity), hour), np.array(equity, float), capital)


def test_the_common_period_is_what_every_track_covers():
    one = track("2020-01-01", [100.0] * 10)
    other = track("2020-01-06", [100.0] * 10)
    assert common_period([one, other]) == (
        pd.Timestamp("2020-01-06", tz="UTC"),
        pd.Timestamp("2020-01-10", tz="UTC"),
    )
    assert common_period([one, track("2021-01-01", [100.0])]) is None


@pytest.mark.parametrize(
    ("start", "grown", "fallen"),
    [
        # From the first bar on the capital is the base; the fall on day 1 is from it.
        ("2020-01-01", [90.0, 120.0, 60.0], [-0.1, 0.0, -0.5]),
        # Later the base is the close before: 90.
        ("2020-01-02", [100 * 120 / 90, 100 * 60 / 90], [0.0, -0.5]),
    ],
)
def test_growth_starts_at_the_value_before_the_period(start, grown, fallen):
    one = track("2020-01-01", [90.0, 120.0, 60.0])
    rows = one.rows(pd.Timestamp(start, tz="UTC"), pd.Timestamp("2020-01-31", tz="UTC"))
    values = growth(one, rows)
    assert values == pytest.approx(np.array(grown))
    assert drawdown_from(values) == pytest.approx(np.array(fallen))


def test_a_ruined_account_has_no_growth_left():
    one = track("2020-01-01", [50.0, 0.0, 0.0])
    rows = one.rows(pd.Timestamp("2020-01-03", tz="UTC"), pd.Timestamp("2020-01-03", tz="UTC"))
    assert np.isnan(growth(one, rows)).all()


def walk(rng: np.random.Generator, n: int) -> list[float]:
    return list(100 * np.cumprod(1 + rng.normal(0, 0.01, n)))


def test_correlation_is_of_returns_between_common_times():
    rng = np.random.default_rng(3)
    equity = walk(rng, 60)
    one, opposite = track("2020-01-01", equity), track("2020-01-01", [1e4 / v for v in equity])
    start, end = one.times[0], one.times[-1]
    values, n_common = return_correlations([one, opposite], start, end, by_day=True)
    assert values[0, 0] == pytest.approx(1.0)
    assert values[0, 1] < -0.99
    assert (n_common == 59).all()


def test_bars_of_the_same_day_meet_only_by_day():
    rng = np.random.default_rng(4)
    equity = walk(rng, 60)
    one, other = track("2020-01-01", equity, hour=21), track("2020-01-01", equity, hour=8)
    start, end = one.times[0], one.times[-1]
    assert return_correlations([one, other], start, end, by_day=True)[0][0, 1] == pytest.approx(1)
    values, n_common = return_correlations([one, other], start, end, by_day=False)
    assert np.isnan(values[0, 1])
    assert n_common[0, 1] == 0


@pytest.mark.parametrize("n", [MIN_COMMON_BARS, MIN_COMMON_BARS + 1])
def test_fewer_common_returns_than_the_least_are_not_a_correlation(n):
    rng = np.random.default_rng(5)
    one, other = track("2020-01-01", walk(rng, n)), track("2020-01-01", walk(rng, n))
    values, _ = return_correlations([one, other], one.times[0], one.times[-1], by_day=True)
    assert np.isnan(values[0, 1]) == (n - 1 < MIN_COMMON_BARS)


def test_an_account_that_never_moved_has_no_correlation():
    rng = np.random.default_rng(6)
    one, flat = track("2020-01-01", walk(rng, 60)), track("2020-01-01", [100.0] * 60)
    values, _ = return_correlations([one, flat], one.times[0], one.times[-1], by_day=True)
    assert np.isnan(values[0, 1])
