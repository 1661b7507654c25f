"""Plain functions that make the rows tests need."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from django.test import Client
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken, User
from alphastrat.core.models import Job

PASSWORD = "correct horse"


def make_user(name: str = "alice", *, role: str = "trader", **fields: Any) -> User:
    """Make a person; alice owns, bob shares, charlie is refused."""
    return User.objects.create_user(name, password=PASSWORD, role=role, **fields)


def make_token(
    user: User, *, scope: str = "read-write", name: str = "notebook", **fields: Any
) -> tuple[ApiToken, str]:
    """Make an API token; the second value is its secret."""
    token, secret = ApiToken.issue(user, name=name, scope=scope)
    if fields:
        ApiToken.objects.filter(pk=token.pk).update(**fields)
    return ApiToken.objects.get(pk=token.pk), secret


def signed_in(user: User, **options: Any) -> Client:
    """Return a browser in which `user` is signed in."""
    client = Client(**options)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def bearer(secret: str) -> dict[str, str]:
    """Return the request headers that carry a token."""
    return {"Authorization": f"Bearer {secret}"}


def make_job(owner: User | None = None, *, status: str = "queued", **fields: Any) -> Job:
    """Make a job row that no worker knows of."""
    at = now()
    has_ended = status in {"succeeded", "failed", "cancelled"}
    values: dict[str, Any] = {
        "task": "tests.tasks.add",
        "key": f"add:{uuid4()}",
        "title": "Add two numbers",
        "due_at": at,
        "sent_at": at,
        "finished_at": at if has_ended else None,
    }
    return Job.objects.create(owner=owner, status=status, **{**values, **fields})


def day(text: str) -> datetime:
    """Return midnight UTC of an ISO date."""
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")
