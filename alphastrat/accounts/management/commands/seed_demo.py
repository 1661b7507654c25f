"""Make the demo account and let every app add what a first look should show."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from alphastrat.accounts.services.demo import USERNAME, seed_demo


class Command(BaseCommand):
    help = (
        "Make the user `demo`, an administrator so that every page can be seen, with a password "
        "and an API token of its own in var/demo.env. Nothing is changed where it exists."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.VAR_DIR / "demo.env"
        try:
            account = seed_demo(path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
        if account.is_new:
            self.stdout.write(f"Made the user {USERNAME}; password and API token are in {path}.")
        else:
            self.stdout.write(f"The user {USERNAME} is there; see {path}.")
