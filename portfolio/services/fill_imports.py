"""Importing files of fills: looked at first, then recorded; a second time adds nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from portfolio.models import Account
from portfolio.services.accounting import record_fills
from portfolio.services.fill_checks import FillIn, Known, RowResult, check_fill
from portfolio.services.fill_formats import ParsedFile


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One row of a file: what it holds and what becomes of it."""

    number: int
    fill: FillIn | None
    status: str
    message: str = ""
    column: str = ""

    @property
    def values(self) -> dict[str, Any]:
        fill = self.fill
        names = ("symbol", "side", "quantity", "price", "commission", "filled_at", "execution_id")
        return {name: None if fill is None else getattr(fill, name) for name in names}


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Every row of a file with its outcome."""

    source: str
    rows: list[ImportRow]

    def count(self, status: str) -> int:
        return sum(row.status == status for row in self.rows)

    @property
    def n_recorded(self) -> int:
        return self.count("recorded")

    @property
    def n_known(self) -> int:
        return self.count("known")

    @property
    def n_refused(self) -> int:
        return self.count("refused")


def preview_fills(account: Account, parsed: ParsedFile, *, at: datetime) -> ImportResult:
    """Say what becomes of every row; nothing is stored."""
    known = Known.load(account, parsed.fills, source=parsed.source)
    results: list[RowResult] = []
    for row, fill in enumerate(parsed.fills):
        result, made = check_fill(fill, known, row=row, source=parsed.source, at=at)
        if made is not None:
            known.add(made)
        results.append(result)
    return _joined(parsed, results)


@transaction.atomic
def import_fills(account: Account, parsed: ParsedFile, *, at: datetime) -> ImportResult:
    """Record the rows of a file that can be recorded and are not known yet."""
    recorded = record_fills(account, parsed.fills, source=parsed.source, at=at)
    return _joined(parsed, recorded.rows)


def _joined(parsed: ParsedFile, results: list[RowResult]) -> ImportResult:
    outcomes = iter(results)
    rows = []
    for row in parsed.rows:
        if row.fill is None:
            rows.append(ImportRow(row.number, None, "refused", row.problem))
            continue
        result = next(outcomes)
        rows.append(ImportRow(row.number, row.fill, result.status, result.message, result.column))
    return ImportResult(parsed.source, rows)
