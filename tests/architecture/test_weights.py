"""What a browser has to fetch stays within the budgets of docs/testing.md."""

from __future__ import annotations

from pathlib import Path

import brotli
import pytest
from django.conf import settings

STATIC = Path(settings.BASE_DIR) / "static"
KIB = 1024
BUNDLE = "vendor/plotly/plotly-alphastrat-4.1.1.min.js"
BUDGETS = {
    "sheets of every page": (("css/tokens.css", "css/app.css", "vendor/plotly/plotly.css"), 8),
    "own scripts of every page": (("js/ui.js", "js/live.js"), 8),
    "the alert pages besides": (("js/alerts.js",), 2),
    "the administration of rules": (("js/rule_admin.js",), 1),
    "htmx": (("vendor/htmx/htmx-4.0.1.min.js",), 13),
    "pages with a chart besides": (("js/charts.js", BUNDLE), 370),
}
MAX_PAGE_SHEET = 2  # of one room only, such as css/strategies.css


def weight(name: str) -> int:
    return len(brotli.compress((STATIC / name).read_bytes(), quality=11))


@pytest.mark.parametrize("name", BUDGETS)
def test_static_files_stay_within_their_budget(name):
    files, limit = BUDGETS[name]
    weights = {file: weight(file) for file in files}
    assert sum(weights.values()) <= limit * KIB, weights


def test_the_sheet_of_one_room_is_small():
    common = set(BUDGETS["sheets of every page"][0])
    others = {str(path.relative_to(STATIC)) for path in STATIC.glob("css/*.css")} - common
    assert {name: weight(name) for name in others if weight(name) > MAX_PAGE_SHEET * KIB} == {}


def test_every_script_has_a_budget():
    counted = {file for files, _ in BUDGETS.values() for file in files}
    scripts = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js")}
    assert scripts - counted <= {"vendor/plotly/build.js", "vendor/plotly/entry.js"}
