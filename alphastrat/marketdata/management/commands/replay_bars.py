"""Replay stored bars to the end and return."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core.errors import InvalidInput
from alphastrat.core.stopping import stop_on_signal
from alphastrat.marketdata.management.commands.run_feed import replay_speed
from alphastrat.marketdata.services.feed_replay import ReplayFeed
from alphastrat.quant.types import Timeframe


class Command(BaseCommand):
    help = "Feed stored bars as if live, into series of their own, from where the last one stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--timeframe", default=settings.FEED_TIMEFRAME)
        parser.add_argument("--live-days", type=int, default=settings.FEED_LIVE_DAYS)
        parser.add_argument("--steps", type=int, help="Stop after so many closes.")
        parser.add_argument("--json", action="store_true")
        pace = parser.add_mutually_exclusive_group()
        pace.add_argument("--speed", type=float, default=math.inf, help="× real time.")
        pace.add_argument("--bars-per-second", type=float)

    def handle(self, *args: Any, **options: Any) -> None:
        stop = stop_on_signal()
        try:
            timeframe = Timeframe(options["timeframe"])
            speed = replay_speed(options, timeframe)
        except (InvalidInput, ValueError) as error:
            raise CommandError(str(error)) from error
        feed = ReplayFeed(timeframe, speed=speed, live_days=options["live_days"])
        result = self._replay(feed, stop, options)
        if options["json"]:
            self.stdout.write(json.dumps(result))
        if result["state"] == "nothing to replay":
            raise CommandError("There is nothing to replay: import or backfill bars first.")

    def _replay(
        self, feed: ReplayFeed, stop: threading.Event, options: dict[str, Any]
    ) -> dict[str, Any]:
        steps, before = 0, None
        result: dict[str, Any] = {"state": "stopped"}
        while not stop.is_set() and steps != options["steps"]:
            progress = feed.advance(at=now())
            result = {"state": progress.state, **progress.detail}
            if progress.state != "replaying":
                break
            if result["position_at"] != before:
                steps, before = steps + 1, result["position_at"]
                if not options["json"]:
                    self.stdout.write(f"{before}  {result['n_bars']:,} bars")
            stop.wait(progress.wait_seconds)
        if not options["json"]:
            self.stdout.write(result["state"])
        return result
