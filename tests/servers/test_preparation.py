"""What the preparation says while it waits."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError
from django.db import OperationalError

from alphastrat.core.management.commands import up


def test_a_database_that_does_not_answer_is_named_while_waiting_and_at_the_end(monkeypatch, capsys):
    def refuse() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(up.connection, "ensure_connection", refuse)
    monkeypatch.setattr(up, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(up, "DATABASE_PATIENCE", 0.2)
    with pytest.raises(CommandError, match="The database does not answer: connection refused"):
        up.Command()._await_database()
    assert capsys.readouterr().out == "waiting for the database: connection refused\n"
