"""Create an API token and print its secret, once."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken, User
from alphastrat.core.access import Role

LONGEST_DAYS = 3_650


class Command(BaseCommand):
    help = "Create an API token and print it: it cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="user name of the token's owner")
        parser.add_argument("--scope", choices=ApiToken.Scope.values, required=True)
        parser.add_argument("--name", default="Command line", help="what will use the token")
        parser.add_argument(
            "--expires-days", type=_days, help="days until it ends; without, it does not"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        if not user.is_active:
            raise CommandError(f"The account of {user.username} is switched off.")
        if options["scope"] == ApiToken.Scope.READ_WRITE and not user.has_role(Role.TRADER):
            raise CommandError(f"{user.username} is a viewer: use --scope read.")
        days = options["expires_days"]
        token, secret = ApiToken.issue(
            user,
            name=options["name"][:80],
            scope=options["scope"],
            expires_at=now() + timedelta(days=days) if days else None,
        )
        # The secret alone on standard output, so that a script can catch it.
        self.stderr.write(f"Token {token.name!r} of {user.username}; it is not shown again:")
        self.stdout.write(secret)


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= LONGEST_DAYS:
        raise ArgumentTypeError(f"must be a whole number from 1 to {LONGEST_DAYS}, was {text!r}")
    return int(text)
