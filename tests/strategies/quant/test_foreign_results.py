"""What is read from the files of other tools, with sums that can be done in the head."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from strategies.quant.foreign_results import read_result

FILES = Path(__file__).resolve().parents[2] / "data" / "foreign"


def content(name: str) -> bytes:
    return (FILES / name).read_bytes()


def days(result) -> list[date]:
    return [time.date() for time in result.days]


def test_pyfolio_returns_become_an_account():
    (result,) = read_result(content("pyfolio_returns.csv"), capital=1000)
    assert (days(result)[0], days(result)[-1]) == (date(2020, 1, 2), date(2020, 1, 8))
    assert result.equity == pytest.approx(1000 * np.cumprod([1.01, 0.98, 1.005, 1.0, 1.015]))
    assert result.periods_per_year == 252
    assert result.trips.empty
    assert "undefined" in result.missing[0]


def test_a_third_column_of_returns_is_the_benchmark():
    (result,) = read_result(
        b",returns,SPY\n2020-01-02,0.1,0.01\n2020-01-03,0.0,0.02\n", capital=100
    )
    assert result.benchmark == pytest.approx([101.0, 103.02])


def test_freqtrade_gives_one_account_per_strategy_that_moves_on_closes():
    sample, idle = read_result(content("freqtrade_result.json"))
    assert (sample.name, idle.name) == ("Sample", "Idle")
    assert (days(sample)[0], days(sample)[-1]) == (date(2021, 1, 1), date(2021, 1, 10))
    assert sample.equity[[0, 1, 2, 4, 5, 9]] == pytest.approx(
        [1000, 1000, 1009.79, 1009.79, 1005.586, 1005.586]
    )
    assert sample.periods_per_year == 365
    long, short = sample.trips.to_dict("records")
    assert (long["side"], short["side"]) == ("long", "short")
    # Long at 100 between 95 and 112; short at 50 between 49 and 53.
    assert (long["mae"], long["mfe"]) == pytest.approx((-0.05, 0.12))
    assert (short["mae"], short["mfe"]) == pytest.approx((-0.06, 0.02))
    # 0.1 % of 100 and of 110.
    assert long["commission"] == pytest.approx(0.21)
    assert (idle.equity == 1000).all()
    assert idle.n_closed == 0


def test_backtesting_py_says_the_side_by_the_sign_of_the_size():
    (result,) = read_result(content("backtesting_py_trades.csv"))
    assert result.capital == 10_000
    assert list(result.trips["side"]) == ["long", "short"]
    assert list(result.trips["quantity"]) == [10, 5]
    # Business days from 3 to 10 March 2020; +50 on the 5th, -10 on the 10th.
    assert result.equity == pytest.approx([10000, 10000, 10050, 10050, 10050, 10040])
    assert result.symbols == ()


def test_vectorbt_counts_open_positions_in_the_account_and_not_as_round_trips():
    (result,) = read_result(content("vectorbt_trades.csv"), capital=100)
    assert result.n_closed == 1
    assert result.symbols == ("AAPL",)
    assert result.equity[-1] == pytest.approx(100 + 4.895 - 2.056)
    assert list(result.trips["exit_reason"]) == ["closed", "open"]
    assert result.trips["commission"].iloc[0] == pytest.approx(0.105)


def test_lean_points_at_midnight_belong_to_the_day_before():
    (result,) = read_result(content("lean_result.json"))
    assert (days(result)[0], days(result)[-1]) == (date(2020, 1, 1), date(2020, 1, 5))
    assert result.equity[-1] == 102_000
    assert result.benchmark[-1] == pytest.approx(100_000 * 325 / 320)
    (trip,) = result.trips.to_dict("records")
    # 500 gross less fees of 2 on a position of 32,000.
    assert trip["pnl"] == 498
    assert trip["return"] == pytest.approx(498 / 32_000)
    assert (trip["mae"], trip["mfe"]) == pytest.approx((-100 / 32_000, 600 / 32_000))
    assert trip["symbol"] == "SPY"


def test_older_lean_files_write_their_names_with_capitals():
    def capitals(value):
        if isinstance(value, dict):
            return {key[:1].upper() + key[1:]: capitals(item) for key, item in value.items()}
        return [capitals(item) for item in value] if isinstance(value, list) else value

    old = capitals(json.loads(content("lean_result.json")))
    series = old["Charts"]["Strategy Equity"]["Series"]["Equity"]
    series["Values"] = [{"x": point[0], "y": point[-1]} for point in series["Values"]]
    (new,) = read_result(content("lean_result.json"))
    (result,) = read_result(json.dumps(old).encode())
    assert result.equity == pytest.approx(new.equity)
    assert result.n_closed == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\x80\x04\x95pickle", "pickles are never opened"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "starting balance"),
        (b"{}", "neither `strategy`"),
        (b'{"strategy": {}}', "no strategy"),
        (b'{"strategy": {"A": {"trades": []}}}', "`starting_balance` of 'A' must be above 0"),
        (
            b'{"strategy": {"A": {"trades": [{"pair": 1}], "starting_balance": 1}}}',
            "lack open_date",
        ),
        (b'{"charts": {}}', "not <id>-summary.json"),
        (b"", "not a table"),
        (b"date,returns\n", "no row"),
        (b"a,b,c,d\n1,2,3,4\n", "none of the known ones"),
        (b"date,returns\n2020-01-02,1\n2020-01-03,-2\n", "percent"),
        (b"date,returns\n2020-01-02,0.1\n2020-01-02,0.1\n", "2020-01-02 has two returns"),
        (b"date,returns\n2020-01-02,100\n2020-01-03,101\n", "account values"),
        (b"date,returns\nsoon,0.1\n", "no time"),
        (b"date,returns\n2020-01-02,much\n", "where a number belongs"),
        (b"date,returns\n2020-01-02,inf\n2020-01-03,0\n", "infinite"),
        (b"date,returns\n2020-01-02,0.1\n", "fewer than two days"),
        (b"date,returns\n0001-01-01,0.1\n2020-01-02,0.1\n", "no time|outside"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        read_result(text)


def test_a_capital_that_the_losses_exceed_is_refused():
    with pytest.raises(ValueError, match="give the capital"):
        read_result(content("vectorbt_trades.csv").replace(b"-2.056", b"-500"), capital=100)


def test_a_round_trip_that_ends_before_it_starts_is_refused():
    wrong = content("backtesting_py_trades.csv").replace(b"2020-03-05,2 days", b"2020-03-01,2 days")
    with pytest.raises(ValueError, match="ends before it starts"):
        read_result(wrong)
