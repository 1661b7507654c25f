"""Feed bars as they close, until told to stop."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from alphastrat.core.errors import InvalidInput
from alphastrat.core.stopping import stop_on_signal
from alphastrat.marketdata.services.feed import Progress, run_feed
from alphastrat.marketdata.services.feed_live import feed_source
from alphastrat.quant.types import Timeframe


class Command(BaseCommand):
    help = "Feed bars as they close: a replay of stored bars, a vendor's stream, or polling."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider", default=settings.FEED_PROVIDER)
        parser.add_argument("--timeframe", default=settings.FEED_TIMEFRAME)
        parser.add_argument("--live-days", type=int, default=settings.FEED_LIVE_DAYS)
        parser.add_argument("--json", action="store_true", help="Say what happens as JSON lines.")
        pace = parser.add_mutually_exclusive_group()
        pace.add_argument("--speed", type=float, default=settings.FEED_SPEED, help="× real time.")
        pace.add_argument("--bars-per-second", type=float)

    def handle(self, *args: Any, **options: Any) -> None:
        stop = stop_on_signal()
        try:
            timeframe = Timeframe(options["timeframe"])
            source = feed_source(
                options["provider"],
                timeframe=timeframe,
                speed=replay_speed(options, timeframe),
                live_days=options["live_days"],
                stop=stop,
            )
        except (InvalidInput, ValueError) as error:
            raise CommandError(str(error)) from error
        as_json = options["json"]

        def say(progress: Progress) -> None:
            line = {"provider": source.name, "state": progress.state, **progress.detail}
            plain = f"feed ({source.name}): {progress.state}"
            self.stdout.write(json.dumps(line) if as_json else plain)
            self.stdout.flush()

        run_feed(source, stop=stop, say=say)


def replay_speed(options: dict[str, Any], timeframe: Timeframe) -> float:
    """Return how many times real time the options ask for."""
    per_second = options.get("bars_per_second")
    speed: float = options["speed"]
    if per_second is not None:
        duration = timeframe.duration
        speed = per_second * (duration.total_seconds() if duration else 28 * 86_400)
    if not speed > 0:
        raise InvalidInput(f"The speed must be above zero; it was {speed:g}.")
    return speed
