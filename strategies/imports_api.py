"""JSON API of results of other tools."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.timezone import now
from ninja import File, Form, Router, Schema, Status
from ninja.files import UploadedFile

from strategies.services.foreign_imports import MAX_BYTES, Preview, import_results, preview_import

router = Router(tags=["backtests"])


class ResultIn(Schema):
    """The capital at the start, where the file does not say it."""

    capital: float | None = None


class ForeignResultOut(Schema):
    """One result in a file; `backtest_id` is null until it is imported."""

    source: str
    name: str
    start: date
    end: date
    n_days: int
    n_closed: int
    symbols: list[str]
    capital: float
    total_return: float
    missing: list[str]
    backtest_id: UUID | None


class PreviewOut(Schema):
    """What a file holds; nothing was stored."""

    sha256: str
    results: list[ForeignResultOut]


class ImportedOut(Schema):
    """A stored result; `is_new` is false where it had been imported before."""

    backtest_id: UUID
    title: str
    is_new: bool


@router.post("/preview", response=PreviewOut, url_name="preview_result")
def preview_result(
    request: HttpRequest, wanted: Form[ResultIn], file: File[UploadedFile]
) -> dict[str, Any]:
    """Say what a result of pyfolio, freqtrade, backtesting.py, vectorbt or LEAN holds."""
    content = file.read(MAX_BYTES + 1)
    return _document(
        preview_import(
            request.user, content, file_name=file.name or "result", capital=wanted.capital
        )
    )


@router.post(
    "", response={201: list[ImportedOut], 200: list[ImportedOut]}, url_name="import_result"
)
def import_result(
    request: HttpRequest, wanted: Form[ResultIn], file: File[UploadedFile]
) -> Status[list[dict[str, Any]]]:
    """Store every result of a file as a backtest to compare with; a second time adds nothing."""
    stored = import_results(
        request.user,
        file.read(MAX_BYTES + 1),
        file_name=file.name or "result",
        capital=wanted.capital,
        at=now(),
    )
    rows = [
        {"backtest_id": one.run.pk, "title": one.run.title, "is_new": one.is_new} for one in stored
    ]
    return Status(201 if any(one.is_new for one in stored) else 200, rows)


def _document(found: Preview) -> dict[str, Any]:
    return {
        "sha256": found.sha256,
        "results": [
            {
                "source": result.source.value,
                "name": result.name,
                "start": result.days[0].date(),
                "end": result.days[-1].date(),
                "n_days": len(result.days),
                "n_closed": result.n_closed,
                "symbols": list(result.symbols),
                "capital": result.capital,
                "total_return": float(result.equity[-1] / result.capital - 1),
                "missing": list(result.missing),
                "backtest_id": run.pk if run else None,
            }
            for result, run in zip(found.results, found.stored, strict=True)
        ],
    }
