"""Send what waits in the outbox: once, or for as long as it runs."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from alphastrat.core.notify import Listener
from monitoring.services import sender
from monitoring.services.notifications import OUTBOX, send_due

LIMIT = 10_000


class Command(BaseCommand):
    help = "Send the messages that are due; with --loop as they come, beside the monitor."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="Go on until stopped.")
        parser.add_argument("--limit", type=int, default=LIMIT, help="Most messages at once.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["loop"]:
            self._loop()
            return
        sent = send_due(at=now(), limit=options["limit"])
        self.stdout.write(f"{sent.n_sent} sent, {sent.n_failed} not accepted")

    def _loop(self) -> None:
        listener = Listener(OUTBOX)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, listener.stop)
        sender.run(listener)
        listener.close()
