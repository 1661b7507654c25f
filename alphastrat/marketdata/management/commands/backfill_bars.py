"""Bring history from the network providers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core.errors import AlphaStratError
from alphastrat.marketdata.models import Adjustment
from alphastrat.marketdata.services.backfill import (
    BackfillPlan,
    BackfillResult,
    backfill,
    request_backfill,
)
from alphastrat.marketdata.services.failover import Failover, configured_providers
from alphastrat.quant.types import Timeframe

DEFAULT_DAYS = 730


class Command(BaseCommand):
    help = "Bring the bars of these symbols from the first provider that has them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbols", nargs="+")
        parser.add_argument("--timeframe", default="1d", choices=[t.value for t in Timeframe])
        parser.add_argument("--start", help="First day, YYYY-MM-DD; two years ago by default.")
        parser.add_argument("--end", help="Day after the last, YYYY-MM-DD; now by default.")
        parser.add_argument("--adjustment", default="split", choices=Adjustment.values)
        parser.add_argument("--no-actions", action="store_true", help="No splits and dividends.")
        parser.add_argument("--job", action="store_true", help="Let a worker do it.")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        try:
            plan = BackfillPlan(
                symbols=tuple(dict.fromkeys(options["symbols"])),
                timeframe=Timeframe(options["timeframe"]),
                start=_day(options["start"], default=at - timedelta(days=DEFAULT_DAYS)),
                end=_day(options["end"], default=at),
                adjustment=options["adjustment"],
                with_actions=not options["no_actions"],
            )
            if options["job"]:
                job = request_backfill(plan)
                self._say({"job": str(job.pk)}, f"Job {job.pk}", as_json=options["json"])
                return
            result = self._run(plan, at=at, as_json=options["json"])
        except (AlphaStratError, ValueError) as error:
            raise CommandError(str(error)) from error
        self._say(result.as_json(), f"{result.rows_stored:,} new bars", as_json=options["json"])
        if result.failures:
            raise CommandError("\n".join(f"{s}: {why}" for s, why in result.failures.items()))

    def _run(self, plan: BackfillPlan, *, at: datetime, as_json: bool) -> BackfillResult:
        def on_symbol(result: BackfillResult, symbol: str) -> None:
            done = len(result.sources) + len(result.failures)
            source = result.sources.get(symbol, "no provider")
            if not as_json:
                self.stdout.write(f"{done}/{len(plan.symbols)} {symbol} from {source}")

        return backfill(plan, Failover(configured_providers()), at=at, on_symbol=on_symbol)

    def _say(self, value: dict[str, Any], plain: str, *, as_json: bool) -> None:
        self.stdout.write(json.dumps(value) if as_json else plain)


def _day(text: str | None, *, default: datetime) -> datetime:
    return default if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
