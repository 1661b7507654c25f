"""Rows that travel as PostgreSQL's binary aggregates: arrays of a thousand strategies at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from psycopg import Cursor

from alphastrat.core.moments import moment
from alphastrat.quant.types import IntArray

# PostgreSQL's binary times count microseconds from 2000-01-01.
EPOCH_US = 946_684_800_000_000


def binary_rows(statement: str, parameters: dict[str, Any]) -> list[Any]:
    """Return the rows of a statement whose columns may be binary aggregates."""
    connection.ensure_connection()
    with Cursor(connection.connection) as cursor:
        return list(cursor.execute(statement, parameters, binary=True))


def binary_times(raw: bytes | memoryview) -> IntArray:
    """Return binary times as microseconds since 1970 UTC."""
    return np.frombuffer(raw, ">i8").astype(np.int64) + EPOCH_US


def moment_of(value: int) -> datetime | None:
    """Return the moment of microseconds since 1970 UTC; None for 0."""
    return moment(value) if value else None
