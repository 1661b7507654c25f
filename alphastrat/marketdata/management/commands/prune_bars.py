"""Forget old intraday bars."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from alphastrat.marketdata.services.retention import forget_intraday_bars


class Command(BaseCommand):
    help = "Delete intraday bars older than INTRADAY_RETENTION_DAYS, or --days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="how many days of bars stay")
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"] or settings.INTRADAY_RETENTION_DAYS
        if days <= 0:
            raise CommandError(
                "Bars are kept for ever: set INTRADAY_RETENTION_DAYS, or say --days."
            )
        at = now()
        before = at - timedelta(days=days)
        n_bars = forget_intraday_bars(before=before, at=at)
        if options["json"]:
            self.stdout.write(json.dumps({"deleted": n_bars, "before": before.isoformat()}))
        else:
            self.stdout.write(f"{n_bars:,} intraday bars from before {before:%Y-%m-%d} forgotten.")
