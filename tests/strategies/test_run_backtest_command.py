"""`manage.py run_backtest` prints a result, or says why there is none and exits with 1."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from strategies.models import BacktestRun
from tests.strategies.builders import make_market, make_strategy

pytestmark = pytest.mark.django_db
PERIOD = ["--start", "2015-01-02", "--end", "2016-12-30", "--owner", "alice"]


@pytest.fixture(autouse=True)
def market(alice):
    make_market("KO")


def test_the_command_prints_what_the_run_found(capsys):
    call_command("run_backtest", "--plugin", "rsi_mean_reversion", "--symbols", "KO", *PERIOD)
    out, err = capsys.readouterr()
    assert "sharpe ratio" in out
    assert "Succeeded" in err


def test_json_goes_to_stdout_alone(capsys):
    call_command(
        "run_backtest",
        "--plugin=rsi_mean_reversion",
        "--symbols=KO",
        "--param=period=10",
        "--cost=slippage_bps=2",
        "--exit=stop_loss=0.05",
        "--json",
        *PERIOD,
    )
    document = json.loads(capsys.readouterr().out)
    run = BacktestRun.objects.get()
    assert document["id"] == str(run.pk)
    assert document["metrics"]["n_round_trips"] == run.n_trades
    assert (run.parameters["period"], run.exit_rules) == (10, {"stop_loss": 0.05})


def test_a_strategy_is_found_by_its_name(alice, capsys):
    strategy = make_strategy(alice, name="Cola", symbols=["KO"])
    call_command("run_backtest", "--strategy", "Cola", *PERIOD)
    assert BacktestRun.objects.get().strategy_version == strategy.current_version


def test_a_version_of_a_strategy_is_chosen_by_its_number(alice):
    strategy = make_strategy(alice, name="Cola", symbols=["KO"])
    arguments = ["run_backtest", "--strategy", "Cola", *PERIOD]
    call_command(*arguments, "--of-version", "1")
    assert BacktestRun.objects.get().strategy_version == strategy.current_version
    with pytest.raises(CommandError, match="There is no version 2"):
        call_command(*arguments, "--of-version", "2")
    with pytest.raises(CommandError, match="--strategy"):
        call_command("run_backtest", "--plugin=rsi_mean_reversion", "--of-version=1", *PERIOD)


def test_size_benchmark_and_seed_can_be_chosen(capsys):
    call_command(
        "run_backtest",
        "--plugin=rsi_mean_reversion",
        "--symbols=KO",
        "--sizing=kind=fixed_fraction",
        "--sizing=fraction=0.25",
        "--benchmark=none",
        "--seed=7",
        "--title=A quarter",
        *PERIOD,
    )
    run = BacktestRun.objects.get()
    assert (run.sizing["kind"], run.sizing["fraction"]) == ("fixed_fraction", 0.25)
    assert (run.benchmark, run.seed, run.title) == ("none", 7, "A quarter")


def test_what_the_version_of_a_strategy_says_cannot_be_given_beside_it(alice):
    make_strategy(alice, name="Cola", symbols=["KO"])
    with pytest.raises(CommandError, match="--param: the strategy's version says that"):
        call_command("run_backtest", "--strategy", "Cola", "--param=period=10", *PERIOD)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--symbols", "KOO"], "did you mean KO?"),
        (["--symbols", "KO", "--param", "period=1"], "Must lie in"),
        (["--symbols", "KO", "--owner", "nobody"], "no user called 'nobody'"),
        (["--symbols", "KO", "--param", "period"], "NAME=VALUE"),
        (["--symbols", "KO", "--start", "soon"], "is not a day"),
    ],
)
def test_a_mistake_is_named(arguments, said):
    with pytest.raises(CommandError, match=said):
        call_command("run_backtest", "--plugin", "rsi_mean_reversion", *PERIOD, *arguments)
    assert not BacktestRun.objects.exists()
