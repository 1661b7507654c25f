"""Names that say nothing are not used for modules."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "misc", "base_utils", "manager"}


@pytest.mark.parametrize("package", ["alphastrat", "strategies", "portfolio", "monitoring"])
def test_no_module_has_a_name_that_says_nothing(package):
    found = [str(p) for p in (ROOT / package).rglob("*.py") if p.stem in BANNED_MODULES]
    assert found == []
