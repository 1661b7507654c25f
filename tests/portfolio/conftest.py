from __future__ import annotations

import pytest

from alphastrat.core import jobs
from tests.factories import make_user


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """Collect what would go to the broker of jobs; a test runs it by hand."""
    messages: list[str] = []
    monkeypatch.setattr(jobs, "async_task", lambda _function, job_id, **_: messages.append(job_id))
    monkeypatch.setattr(jobs, "_broker_is_empty", lambda: True)
    return messages


@pytest.fixture
def alice(db):
    return make_user("alice")


@pytest.fixture
def charlie(db):
    return make_user("charlie")
