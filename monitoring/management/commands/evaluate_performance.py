"""Judge live strategies against their expectations, once."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from monitoring.services import lifecycle_gates, shadow
from portfolio.models import Account


class Command(BaseCommand):
    help = "Bring shadows up to date and judge every live strategy, or those named."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("strategy", nargs="*", help="Ids; all live strategies by default.")
        parser.add_argument(
            "--no-shadow", action="store_true", help="Judge on the shadows as they are."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            chosen = [UUID(one) for one in options["strategy"]] or None
        except ValueError as error:
            raise CommandError(f"This is no id of a strategy: {error}") from None
        started = time.perf_counter()
        if not options["no_shadow"]:
            accounts = Account.objects.open()
            if chosen is not None:
                accounts = accounts.filter(strategy__in=chosen)
            shadow.refresh(list(accounts.values_list("pk", flat=True)), at=now())
        found = lifecycle_gates.judge(chosen, at=now())
        for verdict in found.verifications:
            self.stdout.write(f"{verdict.status:<12}  {verdict.name}: {verdict.reason}")
        n = len(found.verifications)
        seconds = time.perf_counter() - started
        self.stdout.write(
            f"{n} {'strategy' if n == 1 else 'strategies'} judged in {seconds:.1f} s, "
            f"{len(found.transitions)} changed."
        )
