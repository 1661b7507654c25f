"""What the commands of searches share: arguments, the run in this process, the answer."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import date
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.jsonable import jsonable
from strategies.models import Strategy
from strategies.services.specification import Specification, of_version


class SearchCommand(BaseCommand):
    """Base of the commands; a subclass says what is asked and how its answer reads."""

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--plugin", help="key of a strategy type, such as rsi_mean_reversion")
        what.add_argument("--strategy", help="name or id of one of the owner's strategies")
        parser.add_argument("--owner", required=True, help="user who will own the result")
        parser.add_argument("--symbols", nargs="*", default=[], help="instruments")
        parser.add_argument("--start", required=True, type=_day, help="first day, ISO")
        parser.add_argument("--end", required=True, type=_day, help="last day, ISO")
        parser.add_argument("--timeframe", default="1d")
        parser.add_argument("--capital", type=float, default=100_000.0)
        parser.add_argument(
            "--vary",
            action="append",
            default=[],
            required=True,
            type=axis_argument,
            metavar="NAME=LOW:HIGH[:STEP] or NAME=A,B,C",
            help="a parameter or exit rule and the values to try; may be given several times",
        )
        for name in ("param", "cost", "exit"):
            parser.add_argument(
                f"--{name}", action="append", default=[], type=_pair, metavar="NAME=VALUE"
            )
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--title", default="")
        parser.add_argument(
            "--estimate", action="store_true", help="say what it will take and stop"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def plan(self, options: dict[str, Any]) -> str:
        """Return what the search will take, in words."""
        raise NotImplementedError

    def ask(self, owner: Any, options: dict[str, Any], version: Any, at: Any) -> Any:
        """Store the search as queued."""
        raise NotImplementedError

    def document(self, search: Any) -> dict[str, Any]:
        """Return the result for `--json`."""
        raise NotImplementedError

    def words(self, search: Any) -> str:
        """Return the result for people."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        owner = get_user_model().objects.filter(username=options["owner"]).first()
        if owner is None:
            raise CommandError(f"There is no user called {options['owner']!r}.")
        asked, version = _specification(owner, options)
        options["space"] = dict(options["vary"])
        options["specification"] = replace(asked, seed=options["seed"], title=options["title"])
        try:
            self.stderr.write(self.plan(options))
            if options["estimate"]:
                return
            search = self.ask(owner, options, version, now())
        except AlphaStratError as error:
            reasons = "".join(f"\n  {name}: {reason}" for name, reason in error.fields.items())
            raise CommandError(f"{error}{reasons}") from None
        jobs.run_job(str(search.job_id))
        search.refresh_from_db()
        if search.status != "succeeded":
            raise CommandError(search.failure_reason or f"It is {search.status}.")
        found = self.document(search) if options["json"] else None
        self.stdout.write(json.dumps(jsonable(found), indent=2) if found else self.words(search))


def axis_argument(text: str) -> tuple[str, Any]:
    """Return the axis of `period=5:30:5` or `direction=long,both`."""
    name, separator, values = text.partition("=")
    if not separator or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=LOW:HIGH[:STEP] or NAME=A,B,C")
    parts = [_value(part) for part in values.split(":")]
    if len(parts) in (2, 3):
        return name, dict(zip(("low", "high", "step"), parts, strict=False))
    return name, {"values": [_value(part) for part in values.split(",")]}


def _specification(owner: Any, options: dict[str, Any]) -> tuple[Specification, Any]:
    common = {
        "start": options["start"],
        "end": options["end"],
        "capital": options["capital"],
        "costs": dict(options["cost"]),
    }
    if options["strategy"]:
        strategies = Strategy.objects.for_user(owner).with_version()
        wanted = options["strategy"]
        strategy = next((one for one in strategies if wanted in (one.name, str(one.pk))), None)
        if strategy is None or strategy.current_version is None:
            raise CommandError(f"{owner} has no strategy called {wanted!r}.")
        return of_version(strategy.current_version, **common), strategy.current_version
    asked = Specification(
        plugin=options["plugin"],
        parameters=dict(options["param"]),
        symbols=options["symbols"],
        timeframe=options["timeframe"],
        exit_rules=dict(options["exit"]),
        **common,
    )
    return asked, None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2017-06-30") from None


def _pair(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
