"""Import a result of another tool as a run to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core.errors import AlphaStratError
from alphastrat.core.formatting import count, day, signed_percent
from strategies.services.foreign_imports import MAX_BYTES, import_results, preview_import


class Command(BaseCommand):
    """Look at a file or store its results; exits with 1 and the reason if it cannot."""

    help = "Import a result of pyfolio, freqtrade, backtesting.py, vectorbt or LEAN."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--owner", required=True, help="user who will own the runs")
        parser.add_argument("--capital", type=float, help="at the start, if the file is silent")
        parser.add_argument("--preview", action="store_true", help="store nothing")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = get_user_model().objects.filter(username=options["owner"]).first()
        if owner is None:
            raise CommandError(f"There is no user called {options['owner']!r}.")
        path: Path = options["file"]
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
        given = {"file_name": path.name, "capital": options["capital"]}
        try:
            rows = (
                self._preview(owner, content, given)
                if options["preview"]
                else self._import(owner, content, given)
            )
        except AlphaStratError as error:
            raise CommandError(f"{error} {' '.join(error.fields.values())}") from None
        for row in rows:
            self.stdout.write(json.dumps(row) if options["json"] else "  ".join(row.values()))

    def _preview(self, owner: Any, content: bytes, given: dict[str, Any]) -> list[dict[str, str]]:
        found = preview_import(owner, content, **given)
        return [
            {
                "source": result.source.value,
                "name": result.name or given["file_name"],
                "period": f"{day(result.days[0])} to {day(result.days[-1])}",
                "return": signed_percent(result.equity[-1] / result.capital - 1).text,
                "round_trips": count(result.n_closed).text,
                "state": "imported before" if run else "new",
            }
            for result, run in zip(found.results, found.stored, strict=True)
        ]

    def _import(self, owner: Any, content: bytes, given: dict[str, Any]) -> list[dict[str, str]]:
        return [
            {
                "title": one.run.title,
                "url": one.run.get_absolute_url(),
                "state": "imported" if one.is_new else "imported before",
            }
            for one in import_results(owner, content, at=now(), **given)
        ]
