from __future__ import annotations

import pytest

from alphastrat.accounts.models import User
from tests.factories import make_token, make_user, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def root():
    return make_user("root", role="admin")


def test_an_administrator_makes_a_person_with_a_role(root):
    form = {
        "username": "bob",
        "email": "bob@example.com",
        "role": "trader",
        "usable_password": "true",
        "password1": "battery staple 12",
        "password2": "battery staple 12",
    }
    answer = signed_in(root).post("/admin/accounts/user/add/", form)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    bob = User.objects.get(username="bob")
    assert (bob.role, bob.is_superuser, bob.check_password("battery staple 12")) == (
        "trader",
        False,
        True,
    )


def change(client, user: User, **fields):
    form = {"username": user.username, "timezone": "UTC", "role": user.role, "is_active": "on"}
    return client.post(f"/admin/accounts/user/{user.pk}/change/", {**form, **fields})


def test_an_administrator_changes_the_role_of_another(root):
    bob = make_user("bob", role="viewer")
    assert change(signed_in(root), bob, role="trader").status_code == 302
    bob.refresh_from_db()
    assert bob.role == "trader"


@pytest.mark.parametrize("fields", [{"role": "viewer"}, {"is_active": ""}])
def test_an_administrator_cannot_take_away_their_own_access(root, fields):
    answer = change(signed_in(root), root, **fields)
    assert answer.status_code == 200
    assert "Ask another administrator" in answer.text
    root.refresh_from_db()
    assert (root.role, root.is_active) == ("admin", True)


@pytest.mark.parametrize("role", ["viewer", "trader"])
def test_nobody_else_enters_the_administration(role):
    client = signed_in(make_user(role=role))
    assert client.get("/admin/accounts/user/").status_code == 302
    assert client.post("/admin/accounts/user/add/", {"username": "x"}).status_code == 302


def test_tokens_are_seen_and_revoked_but_not_made(root):
    token, _ = make_token(make_user())
    client = signed_in(root)
    page = client.get("/admin/accounts/apitoken/")
    assert token.hint in page.text
    assert token.digest not in page.text
    assert client.get("/admin/accounts/apitoken/add/").status_code == 403
    client.post(
        "/admin/accounts/apitoken/",
        {"action": "revoke_selected", "_selected_action": [str(token.pk)]},
    )
    token.refresh_from_db()
    assert token.revoked_at is not None
