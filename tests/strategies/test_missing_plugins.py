"""What a person made with a plug-in stays readable when its file is gone."""

from __future__ import annotations

import pytest

from strategies.quant import registry
from tests.factories import signed_in
from tests.strategies.builders import finished_run, make_market, make_strategy
from tests.strategies.search_builders import finished_sweep, finished_walk_forward

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(alice, monkeypatch) -> dict[str, str]:
    """Make one of everything, then take its plug-in away."""
    make_market()
    strategy = make_strategy(alice)
    made = {
        "strategy": strategy,
        "run": finished_run(alice, version=strategy.current_version),
        "sweep": finished_sweep(alice),
        "walk-forward": finished_walk_forward(alice),
    }
    others = {k: v for k, v in registry._plugins.items() if k != "rsi_mean_reversion"}
    monkeypatch.setattr(registry, "_plugins", others)
    return {name: one.get_absolute_url() for name, one in made.items()}


@pytest.mark.parametrize("name", ["strategy", "run", "walk-forward"])
def test_its_pages_are_there_and_name_the_type_by_its_key(pages, alice, name):
    answer = signed_in(alice).get(pages[name])
    assert answer.status_code == 200
    assert "rsi_mean_reversion" in answer.content.decode()


def test_a_sweep_whose_axes_nobody_can_read_says_why(pages, alice):
    answer = signed_in(alice).get(pages["sweep"])
    assert answer.status_code == 422
    assert "There is no strategy plug-in called" in answer.content.decode()


def test_lists_and_comparisons_are_there(pages, alice):
    browser = signed_in(alice)
    for url in ("/strategies/", "/backtests/", "/sweeps/", "/walk-forwards/", "/compare/"):
        assert browser.get(url).status_code == 200


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("strategy", "{url}edit/"),
        ("run", "/backtests/new/?from={id}"),
        ("sweep", "/sweeps/new/?from={id}"),
        ("walk-forward", "/walk-forwards/new/?from={id}"),
    ],
)
def test_a_form_that_starts_from_it_says_what_is_missing(pages, alice, name, again):
    url = again.format(url=pages[name], id=pages[name].split("/")[-2])
    page = signed_in(alice).get(url).content.decode()
    assert "The strategy type rsi_mean_reversion is not installed" in page
