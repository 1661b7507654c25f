from __future__ import annotations

import re
import stat
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken, User
from alphastrat.accounts.services.demo import seed_demo
from alphastrat.core import events
from tests.factories import bearer, make_user

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def kept(path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


# --- create_token --------------------------------------------------------------------------------


def test_a_token_is_printed_alone_and_once():
    make_user()
    out, err = run("create_token", "alice", "--scope", "read-write", "--name", "cron")
    assert re.fullmatch(r"as_[\w-]{43}\n", out)
    assert out.strip() not in err
    token = ApiToken.objects.matching(out.strip(), at=now())
    assert (token.name, token.scope, token.expires_at) == ("cron", "read-write", None)


def test_a_token_can_be_given_an_end():
    make_user()
    run("create_token", "alice", "--scope", "read", "--expires-days", "30")
    token = ApiToken.objects.get()
    assert 29 <= (token.expires_at - now()).days <= 30


@pytest.mark.parametrize(
    ("fields", "arguments", "sentence"),
    [
        ({}, ["nobody", "--scope", "read"], "There is no user 'nobody'."),
        ({"is_active": False}, ["alice", "--scope", "read"], "switched off"),
        ({"role": "viewer"}, ["alice", "--scope", "read-write"], "alice is a viewer"),
        ({}, ["alice"], "--scope"),
        ({}, ["alice", "--scope", "root"], "invalid choice"),
        ({}, ["alice", "--scope", "read", "--expires-days", "0"], "1 to 3650"),
        ({}, ["alice", "--scope", "read", "--expires-days", "x"], "1 to 3650"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(fields, arguments, sentence):
    make_user(**fields)
    with pytest.raises(CommandError, match=sentence):
        run("create_token", *arguments)
    assert not ApiToken.objects.exists()


# --- seed_demo -----------------------------------------------------------------------------------


@pytest.fixture
def var(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    return tmp_path


def test_the_demo_account_can_sign_in_and_write_through_the_api(var, client):
    run("seed_demo")
    account = kept(var / "demo.env")
    form = {"username": account["DEMO_USER"], "password": account["DEMO_PASSWORD"]}
    assert client.post("/login/", form).status_code == 302
    me = Client().get("/api/v1/me", headers=bearer(account["DEMO_API_TOKEN"])).json()
    assert (me["role"], me["may_write"]) == ("admin", True)


def test_the_file_is_readable_by_its_owner_alone(var):
    run("seed_demo")
    assert stat.S_IMODE((var / "demo.env").stat().st_mode) == 0o600


def test_the_password_is_not_printed(var):
    out, err = run("seed_demo")
    account = kept(var / "demo.env")
    assert account["DEMO_PASSWORD"] not in out + err
    assert account["DEMO_API_TOKEN"] not in out + err


def test_seeding_twice_changes_nothing(var, django_assert_max_num_queries):
    run("seed_demo")
    before = kept(var / "demo.env")
    User.objects.filter(username="demo").update(role="trader")
    with django_assert_max_num_queries(4):
        run("seed_demo")
    assert kept(var / "demo.env") == before
    assert ApiToken.objects.count() == 1
    assert User.objects.get(username="demo").role == "trader"


def test_a_lost_file_or_a_lost_database_is_made_good(var):
    run("seed_demo")
    first = kept(var / "demo.env")
    (var / "demo.env").unlink()
    run("seed_demo")
    second = kept(var / "demo.env")
    assert second["DEMO_PASSWORD"] != first["DEMO_PASSWORD"]
    User.objects.all().delete()
    run("seed_demo")
    assert User.objects.get().check_password(kept(var / "demo.env")["DEMO_PASSWORD"])


def test_a_file_that_cannot_be_written_leaves_no_account(settings, tmp_path):
    settings.VAR_DIR = tmp_path / "occupied"
    settings.VAR_DIR.write_text("a file, not a directory")
    with pytest.raises(CommandError, match="cannot be written"):
        run("seed_demo")
    assert not User.objects.exists()


def test_the_apps_hear_of_the_demo_after_commit(tmp_path, django_capture_on_commit_callbacks):
    heard = []

    def receiver(sender, user_id, **kwargs):
        heard.append(user_id)

    events.demo_seeded.connect(receiver)
    try:
        with django_capture_on_commit_callbacks(execute=False) as callbacks:
            account = seed_demo(tmp_path / "demo.env")
        assert heard == []
        for callback in callbacks:
            callback()
    finally:
        events.demo_seeded.disconnect(receiver)
    assert heard == [account.user_id]
