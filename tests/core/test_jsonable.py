from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import JobStatus
from alphastrat.core.money import to_decimal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float64("nan"), None),
        (np.array([1.0, np.nan]), [1.0, None]),
        (
            np.array(["2020-01-02T21:00", "NaT"], dtype="datetime64[s]"),
            ["2020-01-02T21:00:00Z", None],
        ),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Decimal("1.10"), "1.10"),
        (datetime(2020, 1, 2, 3, tzinfo=UTC), "2020-01-02T03:00:00Z"),
        (date(2020, 1, 2), "2020-01-02"),
        (timedelta(minutes=1), 60.0),
        (JobStatus.QUEUED, "queued"),
        ({"a": [float("nan"), {"b": 1}]}, {"a": [None, {"b": 1}]}),
    ],
)
def test_every_value_becomes_valid_json(value, expected):
    assert jsonable(value) == expected
    json.dumps(jsonable(value), allow_nan=False)


def test_a_value_without_a_json_form_is_refused():
    with pytest.raises(TypeError, match="no JSON form"):
        jsonable(object())


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [(0.1 + 0.2, 4, "0.3000"), (2.5, 0, "2"), (3.5, 0, "4"), ("1.00005", 4, "1.0000")],
)
def test_money_is_rounded_half_to_even(value, places, expected):
    assert to_decimal(value, places) == Decimal(expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_money_is_never_undefined(value):
    with pytest.raises(ValueError, match="finite"):
        to_decimal(value, 2)
