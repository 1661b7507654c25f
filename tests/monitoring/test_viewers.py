"""A viewer is offered nothing that answers "You may not"."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from alphastrat.core.access import Role
from tests.factories import make_user

pytestmark = pytest.mark.django_db

PAGES = ("/", "/backtests/", "/imports/", "/instruments/", "/jobs/", "/settings/")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.TRADER])
def test_no_link_of_a_page_is_forbidden(page, role):
    client = Client()
    client.force_login(make_user("vera", role=role))
    shown = client.get(page).content.decode()
    links = set(re.findall(r'href="(/[^"#?]*)', shown)) - {"/static/"}
    answers = {link: client.get(link).status_code for link in links if "/static/" not in link}
    assert {link for link, status in answers.items() if status == 403} == set()
