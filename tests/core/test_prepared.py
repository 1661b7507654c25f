"""Prepared statements run like any other: in Django's transaction, with Django's errors."""

from __future__ import annotations

import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from alphastrat.core.models import LiveTopic
from alphastrat.core.prepared import PreparedStatement

pytestmark = pytest.mark.django_db(transaction=True)

ADD = PreparedStatement(
    "test_add_topic",
    "INSERT INTO core_livetopic (topic, head) VALUES ($1->>'topic', ($1->>'head')::bigint)"
    " RETURNING to_json(topic)",
)
DOUBLE = PreparedStatement("test_double", "SELECT to_json(($1->>0)::float8 * 2)")
NOTHING = PreparedStatement("test_nothing", "SELECT json_agg(x) FROM unnest('{}'::int[]) x")


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'test_%%'")
        return [name for (name,) in cursor.fetchall()]


def test_documents_go_in_and_come_out():
    assert DOUBLE([0.1]) == 0.2
    assert NOTHING({}) is None


def test_a_statement_is_planned_once_whatever_is_dropped_or_rolled_back():
    DOUBLE([1])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE gone (x int)")
        cursor.execute("DROP TABLE gone")
        transaction.set_rollback(True)
    assert prepared().count("test_double") == 1
    assert DOUBLE([2]) == 4


def test_a_new_connection_learns_it_again():
    DOUBLE([1])
    connection.close()
    assert DOUBLE([2]) == 4


def test_it_takes_part_in_the_transaction_that_it_begins():
    with transaction.atomic():
        assert ADD({"topic": "a", "head": 1}) == "a"
        transaction.set_rollback(True)
    assert not LiveTopic.objects.exists()
    with transaction.atomic():
        ADD({"topic": "a", "head": 1})
    ADD({"topic": "b", "head": 1})
    assert LiveTopic.objects.count() == 2


def test_errors_are_djangos_and_leave_the_connection_usable():
    ADD({"topic": "a", "head": 1})
    with pytest.raises(IntegrityError, match="duplicate key"):
        ADD({"topic": "a", "head": 1})
    with pytest.raises(DataError):
        DOUBLE(["x"])
    assert DOUBLE([1]) == 2


def test_a_lost_connection_is_an_operational_error():
    DOUBLE([1])
    pid = connection.connection.info.backend_pid
    with connection.connection.cursor() as cursor, pytest.raises(Exception, match="terminat"):
        cursor.execute(f"SELECT pg_terminate_backend({pid})")
    with pytest.raises(OperationalError):
        DOUBLE([1])
    connection.close()
    assert DOUBLE([1]) == 2
