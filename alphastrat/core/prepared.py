"""Statements that PostgreSQL plans once per connection: for where a tenth of a millisecond counts.

A statement takes one JSON document as $1 and answers with one. It goes to libpq past the cursors
of Django and psycopg, which together take longer than the statements do; psycopg would also
forget what it has prepared whenever anything is dropped on the connection, as every delivery of
bars drops its staging table. Transactions, errors and the loss of a connection are Django's.
"""

from __future__ import annotations

import json
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection
from psycopg import postgres
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

_JSONB = postgres.types["jsonb"].oid
_SUCCESS = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
# Which statements each connection knows.
_known: WeakKeyDictionary[psycopg.Connection[Any], set[bytes]] = WeakKeyDictionary()


class PreparedStatement:
    """A statement of one parameter and one value; both are JSON."""

    def __init__(self, name: str, statement: str) -> None:
        self.name = name
        self._statement = statement.encode()

    def __call__(self, document: Any) -> Any:
        """Run it in the transaction that is open, if any, and return its answer."""
        connection.ensure_connection()
        with connection.wrap_database_errors:
            answer = self._run(connection.connection, json.dumps(document).encode())
        return json.loads(answer)

    def _run(self, raw: psycopg.Connection[Any], document: bytes) -> bytes:
        libpq, name = raw.pgconn, self.name.encode()
        # psycopg begins a transaction with its first statement, which this may be.
        if not raw.autocommit and libpq.transaction_status == TransactionStatus.IDLE:
            _checked(raw, libpq.exec_(b"BEGIN"))
        known = _known.setdefault(raw, set())
        if name not in known:
            _checked(raw, libpq.prepare(name, self._statement, [_JSONB]))
            known.add(name)
        answer = _checked(raw, libpq.exec_prepared(name, [document])).get_value(0, 0)
        return answer or b"null"


def _checked(raw: psycopg.Connection[Any], result: PGresult) -> PGresult:
    if result.status in _SUCCESS:
        return result
    if raw.pgconn.status == ConnStatus.BAD:
        raise psycopg.OperationalError(result.get_error_message())
    raise error_from_result(result)
