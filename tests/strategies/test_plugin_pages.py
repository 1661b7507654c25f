"""Strategy types are shown with their checks, and rejected files with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from strategies.quant import registry
from strategies.quant.user_plugins import LoadProblem
from strategies.services import plugins
from tests.factories import bearer, make_token, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def rejected(monkeypatch, tmp_path: Path) -> LoadProblem:
    monkeypatch.setattr(plugins, "_rejected", [])
    (tmp_path / "broken.py").write_text("import os\n\nnot_defined\n")
    plugins.load_all(tmp_path)
    (problem,) = plugins.rejected()
    return problem


def test_the_page_shows_every_type_and_what_is_rejected(alice, rejected):
    page = signed_in(alice).get("/strategies/types/").content.decode()
    for key in registry.plugin_keys():
        assert f'id="plugin-{key}"' in page
    assert "broken.py" in page
    assert ", line 3" in page
    assert "not_defined" in page


def test_the_page_asks_the_database_for_the_session_and_the_user_only(
    alice, django_assert_max_num_queries
):
    browser = signed_in(alice)
    # session, user, live head, running jobs
    with django_assert_max_num_queries(4):
        browser.get("/strategies/types/")


def test_the_strategies_page_leads_to_the_types(alice):
    assert "/strategies/types/" in signed_in(alice).get("/strategies/").content.decode()


def test_the_api_tells_source_warm_up_and_checks(client, alice):
    found = client.get("/api/v1/plugins", headers=bearer(make_token(alice)[1])).json()
    (rsi,) = [one for one in found if one["key"] == "rsi_mean_reversion"]
    assert rsi["origin"] == "built in"
    assert rsi["source"].endswith("strategies/quant/plugins/rsi_mean_reversion.py")
    assert rsi["warmup_bars"] == 20 * 14
    assert rsi["has_passed"]
    assert rsi["checks"]
    assert all(check["passed"] for check in rsi["checks"])


def test_the_api_tells_what_is_rejected(client, alice, rejected):
    found = client.get("/api/v1/plugins/rejected", headers=bearer(make_token(alice)[1])).json()
    assert found == [
        {
            "source": rejected.source,
            "line": 3,
            "message": "NameError: name 'not_defined' is not defined",
        }
    ]
