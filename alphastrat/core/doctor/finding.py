"""What a check found: how bad it is, what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import wraps

from django.db import DatabaseError

Check = Callable[[datetime], "Finding"]


class Verdict(StrEnum):
    """An error means that something the product needs is broken."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `remedy` is empty where all is well."""

    name: str
    status: Verdict
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Finding:
    return Finding(name, Verdict.OK, detail)


def warning(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, Verdict.WARNING, detail, remedy)


def error(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, Verdict.ERROR, detail, remedy)


def needs_database(check: Check) -> Check:
    """Let a check that asks the database say so when it gets no answer."""
    name = check.__name__.replace("_", " ")

    @wraps(check)
    def answered(at: datetime) -> Finding:
        try:
            return check(at)
        except DatabaseError as failure:
            reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
            return error(
                name,
                f"The database does not answer: {reason}",
                "Start it (`make run`), or correct DATABASE_URL; then run `manage.py migrate`.",
            )

    return answered
