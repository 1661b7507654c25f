"""Encrypt the credentials of transports and brokers under the newest key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from monitoring.services import credentials
from portfolio.services import broker_keys


class Command(BaseCommand):
    help = "Encrypt stored secrets afresh under the first of ALPHASTRAT_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        for name, secrets in (("transports", credentials), ("broker keys", broker_keys)):
            n_rewritten, lost = secrets.rotate(), secrets.unreadable()
            self.stdout.write(f"{n_rewritten} {name} encrypted under the newest key")
            if lost:
                self.stderr.write(f"{len(lost)} {name} cannot be read by any key")
