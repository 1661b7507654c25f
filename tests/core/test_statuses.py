"""Every status that a row can have has a word and a shape."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db.models import Field

from alphastrat.core.statuses import STATUSES

NAMES = {"status", "state", "trading_state"}
OURS = ("core", "marketdata", "strategies", "portfolio", "monitoring")
FIELDS = [
    field
    for label in OURS
    for model in apps.get_app_config(label).get_models()
    for field in model._meta.get_fields()
    if isinstance(field, Field) and field.name in NAMES and field.choices
]


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_every_status_of_a_model_can_be_shown(field):
    assert [value for value, _ in field.flatchoices if value not in STATUSES] == []
