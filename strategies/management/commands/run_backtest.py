"""Run a backtest here and now, and print what it found."""

from __future__ import annotations

import argparse
import json
from datetime import date
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.formatting import count, format_value
from alphastrat.core.jsonable import jsonable
from strategies.models import BacktestRun, Strategy
from strategies.services.backtesting import request_backtest
from strategies.services.specification import Specification, of_version

SHOWN = (
    ("total_return", "signed_percent"),
    ("annual_return", "signed_percent"),
    ("volatility", "percent"),
    ("sharpe_ratio", "ratio"),
    ("sortino_ratio", "ratio"),
    ("max_drawdown", "signed_percent"),
    ("win_rate", "percent"),
    ("profit_factor", "ratio"),
    ("n_trades", "count"),
)


class Command(BaseCommand):
    """Run one backtest; exits with 1 and the reason if it has no result."""

    help = "Run a backtest of a plug-in or a stored strategy and store the result."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--plugin", help="key of a strategy type, such as rsi_mean_reversion")
        what.add_argument("--strategy", help="name or id of one of the owner's strategies")
        parser.add_argument("--owner", required=True, help="user who will own the run")
        parser.add_argument("--symbols", nargs="*", default=[], help="instruments")
        parser.add_argument("--start", required=True, type=_day, help="first day, ISO")
        parser.add_argument("--end", required=True, type=_day, help="last day, ISO")
        parser.add_argument("--timeframe", default="1d")
        parser.add_argument("--capital", type=float, default=100_000.0)
        for name in ("param", "cost", "exit"):
            parser.add_argument(
                f"--{name}", action="append", default=[], type=_pair, metavar="NAME=VALUE"
            )
        parser.add_argument("--engine", default="simulator", choices=["simulator", "vectorbt"])
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = get_user_model().objects.filter(username=options["owner"]).first()
        if owner is None:
            raise CommandError(f"There is no user called {options['owner']!r}.")
        try:
            run = self._run(owner, options)
        except AlphaStratError as error:
            reasons = "".join(f"\n  {name}: {reason}" for name, reason in error.fields.items())
            raise CommandError(f"{error}{reasons}") from None
        if run.status != BacktestRun.Status.SUCCEEDED:
            raise CommandError(run.failure_reason or f"The run is {run.status}.")
        self.stdout.write(_document(run) if options["json"] else _words(run))

    def _run(self, owner: Any, options: dict[str, Any]) -> BacktestRun:
        asked, version = _specification(owner, options)
        self.stderr.write("Checking")
        run = request_backtest(owner, asked, at=now(), version=version)
        if run.job is None:
            raise CommandError("The job was not stored.")
        self.stderr.write(f"Running {run.title}")
        jobs.run_job(str(run.job.pk))
        run.refresh_from_db()
        self.stderr.write(f"{run.status.capitalize()}: {count(run.n_bars).text} bars")
        return run


def _specification(owner: Any, options: dict[str, Any]) -> tuple[Specification, Any]:
    common = {
        "start": options["start"],
        "end": options["end"],
        "capital": options["capital"],
        "costs": dict(options["cost"]),
        "engine": options["engine"],
    }
    if options["strategy"]:
        version = _strategy(owner, options["strategy"]).current_version
        if version is None:
            raise CommandError("This strategy has no version yet.")
        return of_version(version, **common), version
    return (
        Specification(
            plugin=options["plugin"],
            parameters=dict(options["param"]),
            symbols=options["symbols"],
            timeframe=options["timeframe"],
            exit_rules=dict(options["exit"]),
            **common,
        ),
        None,
    )


def _strategy(owner: Any, name: str) -> Strategy:
    strategies = Strategy.objects.for_user(owner).with_version()
    found = strategies.filter(name=name).first()
    found = found or next((one for one in strategies if str(one.pk) == name), None)
    if found is None:
        raise CommandError(f"{owner} has no strategy called {name!r}.")
    return found


def _document(run: BacktestRun) -> str:
    names = ("id", "title", "status", "data_fingerprint", "code_version", "findings")
    document = {name: getattr(run, name) for name in names}
    document["metrics"] = run.metrics["strategy"]
    return json.dumps(jsonable(document), indent=2)


def _words(run: BacktestRun) -> str:
    lines = [
        f"{name.replace('_', ' '):<16}{format_value(form, getattr(run, name)).text:>12}"
        for name, form in SHOWN
    ]
    found = [f"{finding['severity']}: {finding['text']}" for finding in run.findings]
    return "\n".join([run.title, *lines, *found, run.get_absolute_url()])


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2017-06-30") from None


def _pair(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
