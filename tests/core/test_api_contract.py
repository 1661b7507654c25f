"""Every operation keeps to its description, whatever it is sent."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.factories import bearer, make_job, make_token, make_user

pytestmark = pytest.mark.django_db
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
QUICK: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture
def headers():
    root = make_user("root", role="admin")
    for status in ("queued", "failed", "succeeded"):
        make_job(root, status=status)
    return {**bearer(make_token(root)[1]), "Accept-Encoding": "identity"}


@pytest.fixture
def described(headers):
    application = get_wsgi_application()
    # As Django's own test client: a request must not close the connection of the test.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application, headers=headers)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_no_operation_breaks_or_answers_otherwise_than_described(described, headers):
    n_operations = 0
    for result in described.get_all_operations():
        operation = result.ok()
        n_operations += 1

        @settings(max_examples=n_examples(operation), **QUICK)
        @given(case=operation.as_strategy())
        def holds(case):
            case.call_and_validate(headers=headers, checks=CHECKS)

        holds()
    assert n_operations >= 5


def n_examples(operation: APIOperation) -> int:
    """Return more examples the more there is to vary; of an address alone nearly all are 404."""
    if operation.body:
        return 12
    return 8 if operation.query else 4
