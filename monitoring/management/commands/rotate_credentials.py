"""Encrypt the credentials of transports under the newest key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from monitoring.services import credentials


class Command(BaseCommand):
    help = "Encrypt transport addresses afresh under the first of ALPHASTRAT_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        n_rewritten = credentials.rotate()
        lost = credentials.unreadable()
        self.stdout.write(f"{n_rewritten} transports encrypted under the newest key")
        if lost:
            self.stderr.write(f"{len(lost)} transports cannot be read by any key")
