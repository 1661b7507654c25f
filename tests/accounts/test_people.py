from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken, User, validate_time_zone
from alphastrat.core.access import Role
from tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", {"viewer"}),
        ("trader", {"viewer", "trader"}),
        ("admin", {"viewer", "trader", "admin"}),
    ],
)
def test_a_role_includes_the_roles_below_it(role, may):
    user = make_user(role=role)
    assert {wanted.value for wanted in Role if user.has_role(wanted)} == may


@pytest.mark.parametrize(
    ("role", "is_staff"), [("viewer", False), ("trader", False), ("admin", True)]
)
def test_only_administrators_are_staff(role, is_staff):
    user = make_user(role=role)
    assert user.is_staff is is_staff
    assert user.has_perm("accounts.change_user") is is_staff


def test_a_superuser_is_an_administrator():
    call_command("createsuperuser", username="root", email="", interactive=False)
    assert User.objects.get(username="root").has_role(Role.ADMIN)


@pytest.mark.parametrize("field", ["role", "theme", "pnl_palette", "density"])
def test_an_unknown_choice_is_refused_by_the_database(field):
    user = make_user()
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=user.pk).update(**{field: "odd"})


def test_two_names_that_differ_in_case_are_refused():
    make_user("alice")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_user("Alice")


def test_a_time_zone_must_exist():
    validate_time_zone("Europe/Berlin")
    with pytest.raises(ValidationError, match="'Europe/Nowhere' is not a time zone"):
        validate_time_zone("Europe/Nowhere")


def test_a_token_is_found_by_its_secret_and_only_its_digest_is_stored():
    token, secret = make_token(make_user())
    assert ApiToken.objects.matching(secret, at=now()) == token
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM accounts_apitoken t")
        assert secret not in cursor.fetchone()[0]


def test_a_token_that_is_revoked_expired_or_of_someone_switched_off_is_not_found():
    at = now()
    alice, bob = make_user("alice"), make_user("bob", is_active=False)
    secrets = [
        make_token(alice, revoked_at=at)[1],
        make_token(alice, expires_at=at - timedelta(seconds=1))[1],
        make_token(bob)[1],
    ]
    assert [ApiToken.objects.matching(secret, at=at) for secret in secrets] == [None, None, None]


def test_last_use_is_written_once_a_minute():
    token, _ = make_token(make_user())
    first = now()
    token.touch(at=first)
    token.refresh_from_db()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        token.touch(at=first + timedelta(seconds=30))
    assert (token.last_used_at, len(queries)) == (first, 0)
    later = first + timedelta(seconds=61)
    token.touch(at=later)
    token.refresh_from_db()
    assert token.last_used_at == later


def test_revoking_twice_keeps_the_first_time():
    token, _ = make_token(make_user())
    first = now()
    token.revoke(at=first)
    token.revoke(at=first + timedelta(hours=1))
    token.refresh_from_db()
    assert token.revoked_at == first
