"""Tell whether the database of this var/ directory is as this source tree wants it.

A start that can answer yes without importing Django shows its first page seconds earlier.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

RECORD_NAME = "prepared.json"
SOURCES = ("alphastrat", "strategies", "portfolio", "monitoring", "static", "requirements.txt")
QUERY = "SELECT count(*), coalesce(max(id), 0) FROM django_migrations"


def fingerprint(root: Path, *facts: str, sources: Sequence[str] = SOURCES) -> str:
    """Return a digest of names, sizes and times of the files below `sources`, and of the facts."""
    digest = hashlib.sha256(repr((sys.version, *facts)).encode())
    for path in _files(root, sources):
        stat = path.stat()
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(root: Path, sources: Sequence[str]) -> Iterator[Path]:
    for name in sources:
        top = root / name
        if top.is_file():
            yield top
        for directory, below, names in os.walk(top):
            below[:] = sorted(entry for entry in below if entry != "__pycache__")
            yield from (Path(directory, entry) for entry in sorted(names))


def read_record(var: Path) -> dict[str, Any]:
    try:
        record = json.loads((var / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(var: Path, record: dict[str, Any]) -> None:
    draft = var / f".{RECORD_NAME}"
    draft.write_text(json.dumps(record, indent=1), encoding="utf-8")
    draft.replace(var / RECORD_NAME)


def applied_migrations(database_url: str) -> list[int] | None:
    """Return number and last id of the applied migrations; None where there are none yet."""
    try:
        with psycopg.connect(database_url, connect_timeout=10) as connection:
            row = connection.execute(QUERY).fetchone()
    except psycopg.Error:
        return None
    return list(row) if row else None
