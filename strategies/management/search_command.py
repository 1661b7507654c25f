"""What the commands of searches share: arguments, the run in this process, the answer."""

from __future__ import annotations

import argparse
import json
from abc import ABC, abstractmethod
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.jsonable import jsonable
from strategies.management import what_to_test


class SearchCommand(BaseCommand, ABC):
    """Base of the commands; a subclass says what is asked and how its answer reads."""

    estimated: tuple[str, ...] = ()  # what a plan says of what the search will take

    def add_arguments(self, parser: CommandParser) -> None:
        what_to_test.add_arguments(parser)
        parser.add_argument(
            "--vary",
            action="append",
            default=[],
            required=True,
            type=axis_argument,
            metavar="NAME=LOW:HIGH[:STEP] or NAME=A,B,C",
            help="a parameter or exit rule and the values to try; may be given several times",
        )
        parser.add_argument(
            "--estimate", action="store_true", help="say what it will take and stop"
        )

    @abstractmethod
    def plan(self, options: dict[str, Any]) -> Any:
        """Return the checked plan of the search."""

    @abstractmethod
    def plan_words(self, plan: Any) -> str:
        """Return what the search will take, for people."""

    @abstractmethod
    def ask(self, owner: Any, options: dict[str, Any], version: Any, at: Any) -> Any:
        """Store the search as queued."""

    @abstractmethod
    def document(self, search: Any) -> dict[str, Any]:
        """Return the result for `--json`."""

    @abstractmethod
    def words(self, search: Any) -> str:
        """Return the result for people."""

    def handle(self, *args: Any, **options: Any) -> None:
        owner = what_to_test.owner(options)
        asked, version = what_to_test.specification(owner, options)
        options["space"], options["specification"] = dict(options["vary"]), asked
        try:
            plan = self.plan(options)
            if options["estimate"]:
                self._write_estimate(plan, as_json=options["json"])
                return
            self.stderr.write(self.plan_words(plan))
            search = self.ask(owner, options, version, now())
        except AlphaStratError as error:
            raise what_to_test.refusal(error) from None
        jobs.run_to_end(str(search.job_id))
        search.refresh_from_db()
        if search.status != "succeeded":
            raise CommandError(search.failure_reason or f"It is {search.status}.")
        found = self.document(search) if options["json"] else None
        self.stdout.write(json.dumps(jsonable(found), indent=2) if found else self.words(search))

    def _write_estimate(self, plan: Any, *, as_json: bool) -> None:
        facts = {name: getattr(plan, name) for name in self.estimated}
        self.stdout.write(json.dumps(facts, indent=2) if as_json else self.plan_words(plan))


def axis_argument(text: str) -> tuple[str, Any]:
    """Return the axis of `period=5:30:5` or `direction=long,both`."""
    name, separator, values = text.partition("=")
    if not separator or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=LOW:HIGH[:STEP] or NAME=A,B,C")
    parts = [what_to_test.value(part) for part in values.split(":")]
    if len(parts) in (2, 3):
        return name, dict(zip(("low", "high", "step"), parts, strict=False))
    return name, {"values": [what_to_test.value(part) for part in values.split(",")]}
