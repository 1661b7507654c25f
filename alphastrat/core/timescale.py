"""TimescaleDB where it is there: the same tables, kept in compressed chunks of time.

Everything above SQL is the same with and without it. Migrations ask here; where the extension
is missing they do nothing, and the tables stay plain.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hypertable:
    """A table cut by time: what lies together in a chunk, and when chunks are compressed.

    Every unique index of the table must contain `time_column`, and no foreign key may point at it.
    """

    table: str
    time_column: str
    segment_by: str
    chunk: timedelta
    compress_after: timedelta


def timescale_version(connection: BaseDatabaseWrapper) -> str | None:
    """Return the version of TimescaleDB installed in this database, if any."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        row = cursor.fetchone()
    return row[0] if row else None


def enable_timescale(connection: BaseDatabaseWrapper) -> bool:
    """Install the extension where the server offers it and lets us; whether it is there now."""
    if timescale_version(connection):
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
            " AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'"
        )
        if cursor.fetchone() is None:
            return False
        try:
            with transaction.atomic(using=connection.alias):
                cursor.execute("CREATE EXTENSION timescaledb")
        except DatabaseError as error:
            logger.warning("timescaledb not installed: %s", str(error).strip())
            return False
    return True


def make_hypertable(connection: BaseDatabaseWrapper, hypertable: Hypertable) -> None:
    """Cut a table into chunks and have old ones compressed; rows it has already move along."""
    names = {
        "table": sql.Identifier(hypertable.table),
        "segment_by": sql.Literal(hypertable.segment_by),
        "order_by": sql.Literal(hypertable.time_column),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT create_hypertable(%s::regclass, by_range(%s, %s::interval),"
            " create_default_indexes => false, if_not_exists => true, migrate_data => true)",
            [hypertable.table, hypertable.time_column, f"{hypertable.chunk.days} days"],
        )
        cursor.execute(
            sql.SQL(
                "ALTER TABLE {table} SET (timescaledb.compress,"
                " timescaledb.compress_segmentby = {segment_by},"
                " timescaledb.compress_orderby = {order_by})"
            ).format(**names)
        )
        _compress_after(cursor, hypertable)


def _compress_after(cursor: CursorWrapper, hypertable: Hypertable) -> None:
    cursor.execute(
        "SELECT add_compression_policy(%s::regclass, %s::interval, if_not_exists => true)",
        [hypertable.table, f"{hypertable.compress_after.days} days"],
    )
