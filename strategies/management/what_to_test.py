"""What the research commands share: which hypothesis, over which period, on what terms."""

from __future__ import annotations

import argparse
import json
from datetime import date
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

from alphastrat.core.errors import AlphaStratError
from strategies.models import Strategy, StrategyVersion
from strategies.services.lifecycle import version_of
from strategies.services.specification import UNIVERSE, Specification, of_version


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments from which `specification` is made."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--plugin", help="key of a strategy type, such as rsi_mean_reversion")
    what.add_argument("--strategy", help="name or id of one of the owner's strategies")
    parser.add_argument("--of-version", type=int, help="its version; the current one if left out")
    parser.add_argument("--owner", required=True, help="user who will own the result")
    parser.add_argument("--symbols", nargs="*", default=[], help="instruments")
    parser.add_argument("--start", required=True, type=_day, help="first day, ISO")
    parser.add_argument("--end", required=True, type=_day, help="last day, ISO")
    parser.add_argument("--timeframe", default="1d")
    parser.add_argument("--capital", type=float, default=100_000.0)
    for name, what_it_sets in (
        ("param", "a parameter of the plug-in"),
        ("cost", "a cost, such as slippage_bps=2"),
        ("exit", "an exit rule, such as stop_loss=0.05"),
        ("sizing", "position size, such as kind=volatility_target"),
    ):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            type=_pair,
            metavar="NAME=VALUE",
            help=what_it_sets,
        )
    parser.add_argument("--benchmark", default=UNIVERSE, help="a symbol, universe or none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--title", default="")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def owner(options: dict[str, Any]) -> Any:
    """Return the user who will own the result; raises CommandError where there is none."""
    found = get_user_model().objects.filter(username=options["owner"]).first()
    if found is None:
        raise CommandError(f"There is no user called {options['owner']!r}.")
    return found


def specification(
    user: Any, options: dict[str, Any], **more: Any
) -> tuple[Specification, StrategyVersion | None]:
    """Return what is to be tested, unchecked, and the version of a strategy that it is."""
    common = {
        "start": options["start"],
        "end": options["end"],
        "capital": options["capital"],
        "costs": dict(options["cost"]),
        "benchmark": options["benchmark"],
        "seed": options["seed"],
        "title": options["title"],
        **more,
    }
    if options["strategy"]:
        version = _version(user, options["strategy"], options["of_version"])
        _refuse_what_a_version_fixes(options)
        return of_version(version, **common), version
    if options["of_version"] is not None:
        raise CommandError("--of-version: name the strategy with --strategy.")
    asked = Specification(
        plugin=options["plugin"],
        parameters=dict(options["param"]),
        symbols=options["symbols"],
        timeframe=options["timeframe"],
        exit_rules=dict(options["exit"]),
        sizing=dict(options["sizing"]),
        **common,
    )
    return asked, None


def refusal(error: AlphaStratError) -> CommandError:
    """Return what a person at a terminal is told, each wrong field with its reason."""
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in error.fields.items())
    return CommandError(f"{error}{reasons}")


def value(text: str) -> Any:
    """Return a number, truth or list as JSON has it, anything else as it is written."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _version(user: Any, name: str, number: int | None) -> StrategyVersion:
    strategies = Strategy.objects.for_user(user).with_version()
    found = strategies.filter(name=name).first()
    found = found or next((one for one in strategies if str(one.pk) == name), None)
    if found is None:
        raise CommandError(f"{user} has no strategy called {name!r}.")
    try:
        return version_of(found, number)
    except AlphaStratError as error:
        raise refusal(error) from None


def _refuse_what_a_version_fixes(options: dict[str, Any]) -> None:
    given = [name for name in ("symbols", "param", "exit", "sizing") if options[name]]
    if given:
        names = ", ".join(f"--{name}" for name in given)
        raise CommandError(
            f"{names}: the strategy's version says that. Leave it out, or use --plugin."
        )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2017-06-30") from None


def _pair(text: str) -> tuple[str, Any]:
    name, separator, given = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value(given)
