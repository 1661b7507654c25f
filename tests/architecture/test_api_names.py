"""Two shapes of one name would be described as one in the API's own documentation."""

from __future__ import annotations

from collections import Counter

from ninja import Schema

from alphastrat.api import api

OURS = ("alphastrat", "strategies", "portfolio", "monitoring")


def schemas(base: type) -> set[type]:
    found = set(base.__subclasses__())
    return found | {deeper for one in found for deeper in schemas(one)}


def test_every_shape_of_the_api_has_a_name_of_its_own():
    assert api.urls
    ours = {one for one in schemas(Schema) if one.__module__.startswith(OURS)}
    described = [one for one in ours if one.__qualname__ == one.__name__]
    repeated = [name for name, n in Counter(one.__name__ for one in described).items() if n > 1]
    assert repeated == []
