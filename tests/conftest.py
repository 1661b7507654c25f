"""People, and a broker of jobs that only collects, for the tests of every app."""

from __future__ import annotations

import pytest

from alphastrat.core import jobs
from tests.factories import make_user


@pytest.fixture
def alice(db):
    return make_user("alice")


@pytest.fixture
def bob(db):
    return make_user("bob")


@pytest.fixture
def charlie(db):
    return make_user("charlie")


@pytest.fixture
def sent(monkeypatch):
    """Collect what would go to the broker; a test delivers by hand, once, twice or never."""
    messages: list[str] = []
    monkeypatch.setattr(jobs, "async_task", lambda _function, job_id, **_: messages.append(job_id))
    monkeypatch.setattr(jobs, "_broker_is_empty", lambda: True)
    return messages
