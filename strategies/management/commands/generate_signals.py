"""Give the signals of active strategies on the bars that are stored."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core.errors import AlphaStratError
from strategies.models import Strategy
from strategies.services.strategy_engine import generate_signals


class Command(BaseCommand):
    """Give signals; doing it twice adds nothing."""

    help = "Give the signals of every bar that closed since each active strategy's last one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--strategy", help="name or id; active or not")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        strategies = Strategy.objects.active()
        if options["strategy"]:
            strategies = Strategy.objects.filter(name=options["strategy"])
            if not strategies.exists():
                raise CommandError(f"There is no strategy called {options['strategy']!r}.")
        self.stderr.write(f"Giving signals of {strategies.count()} strategies")
        try:
            found = generate_signals(strategies, at=now())
        except AlphaStratError as error:
            raise CommandError(str(error)) from None
        document = {"strategies": found.n_strategies, "signals": found.n_signals}
        words = f"{found.n_signals} new signals of {found.n_strategies} strategies"
        self.stdout.write(json.dumps(document) if options["json"] else words)
