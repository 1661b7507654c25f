"""The account of a first look: made once, its password and token kept in one private file."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from alphastrat.accounts.models import ApiToken, User
from alphastrat.core import events
from alphastrat.core.access import Role

USERNAME = "demo"
TOKEN_NAME = "Demo"
KEYS = ("DEMO_USER", "DEMO_PASSWORD", "DEMO_API_TOKEN")


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """Whose account it is, and whether this call made its password."""

    user_id: int
    is_new: bool


def seed_demo(path: Path) -> DemoAccount:
    """Make the demo account unless it stands in `path`, then let the apps add to it.

    Nobody can read a stored password back: where the file is lost, the account gets a new
    password and token. The role is administrator, so that whoever installed the product for
    themselves can see all of it.
    """
    with transaction.atomic():
        user = User.objects.select_for_update().filter(username=USERNAME).first()
        is_new = user is None or not _is_complete(path)
        if user is None or is_new:
            user = _renew(user, path)
        events.send_on_commit(events.demo_seeded, user_id=user.pk)
    return DemoAccount(user_id=user.pk, is_new=is_new)


def _renew(user: User | None, path: Path) -> User:
    password = secrets.token_urlsafe(12)
    if user is None:
        user = User.objects.create_user(USERNAME, password=password, role=Role.ADMIN.value)
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    _, secret = ApiToken.issue(user, name=TOKEN_NAME, scope=ApiToken.Scope.READ_WRITE)
    # Written before the commit: a file that cannot be written leaves no account behind.
    _write_private(path, dict(zip(KEYS, (USERNAME, password, secret), strict=True)))
    return user


def _is_complete(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return all(f"{key}=" in text for key in KEYS)


def _write_private(path: Path, values: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.writelines(f"{key}={value}\n" for key, value in values.items())
    draft.replace(path)
