"""What the two check commands share."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from alphastrat.core.errors import AlphaStratError
from alphastrat.core.jsonable import jsonable
from strategies.models import Strategy, StrategyVersion
from strategies.quant import registry
from strategies.quant.checks import CheckName
from strategies.services.strategy_checks import run_check


class CheckCommand(BaseCommand):
    """Check a stored strategy or a plug-in with its defaults; exits with 1 if it fails."""

    check_name: ClassVar[CheckName]

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--strategy", help="name of a stored strategy")
        what.add_argument("--plugin", help="key of a strategy type")
        parser.add_argument("--symbols", nargs="*", default=[], help="instruments for --plugin")
        parser.add_argument("--timeframe", default="1d")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        version = _version(options)
        self.stderr.write(f"Checking {version.plugin} on {', '.join(version.symbols[:5])}")
        try:
            result = run_check(version, self.check_name)
        except AlphaStratError as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(jsonable(result), indent=2))
        else:
            self.stdout.write(
                "\n".join(part for part in (result.message, result.reproduction) if part)
            )
        if not result.passed:
            raise CommandError(f"The {self.check_name} check failed.")


def _version(options: dict[str, Any]) -> StrategyVersion:
    if options["plugin"]:
        if options["plugin"] not in registry.plugin_keys():
            known = ", ".join(registry.plugin_keys())
            raise CommandError(f"There is no plug-in {options['plugin']!r}; known: {known}")
        if not options["symbols"]:
            raise CommandError("Name at least one instrument with --symbols.")
        return StrategyVersion(
            plugin=options["plugin"],
            parameters={},
            symbols=options["symbols"],
            timeframe=options["timeframe"],
        )
    strategy = Strategy.objects.with_version().filter(name=options["strategy"]).first()
    if strategy is None or strategy.current_version is None:
        raise CommandError(f"There is no strategy called {options['strategy']!r}.")
    return strategy.current_version
