"""Load the sample market that comes with the product."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from alphastrat.core.terminal import TerminalProgress
from alphastrat.marketdata.providers.files import count_rows
from alphastrat.marketdata.services.sample_market import BARS_FILE, is_loaded, load_sample_market


class Command(BaseCommand):
    help = "Load the sample market: daily bars of 33 US companies, 2013 to 2018."

    def handle(self, *args: Any, **options: Any) -> None:
        if is_loaded():
            self.stdout.write("The sample market is loaded.")
            return
        progress = TerminalProgress(self.stderr, total=count_rows(BARS_FILE), unit="rows")
        run = load_sample_market(at=now(), on_progress=progress.update)
        progress.close()
        self.stdout.write(f"Loaded {run.rows_stored:,} bars of the sample market.")
