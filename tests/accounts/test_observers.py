"""A viewer sees everything of the installation and changes nothing; traders see their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.timezone import now

from alphastrat.api import api
from alphastrat.core.live import stored_topic
from monitoring.models import Notification, Silence
from monitoring.services.notifications import queue_for
from portfolio.models import PortfolioMember
from portfolio.services import rebalancing
from portfolio.services.allocation_options import AllocationOptions
from portfolio.services.portfolio_optimizer import request_optimisation
from tests.factories import bearer, make_import, make_job, make_token, make_user, signed_in
from tests.monitoring.alert_builders import firing, make_rule
from tests.monitoring.outbox_builders import make_alert, make_event, make_transport
from tests.portfolio.risk_builders import hold, make_portfolio
from tests.strategies.builders import finished_run, make_market, make_strategy
from tests.strategies.search_builders import finished_sweep, finished_walk_forward

pytestmark = pytest.mark.django_db

CHARTS = {"backtest-chart": "equity", "walk-forward-chart": "equity", "sweep-chart": "heat"}
# A person's own: name and colours, tokens, signing in and out.
OWN = ("accounts",)
PEOPLE = {"first": "strategy_id", "second": "other_id"}


@pytest.fixture(autouse=True)
def _no_broker(sent):
    """Keep jobs from a broker."""


@pytest.fixture
def ids(alice) -> dict[str, Any]:
    """Make one of everything for alice; return the ids by the names that addresses use."""
    make_market()
    strategy, other = make_strategy(alice), make_strategy(alice, name="Other")
    portfolio, accounts = make_portfolio(alice)
    hold(accounts[0], 10)
    PortfolioMember.objects.filter(strategy=accounts[0].strategy).update(target_weight=0.1)
    transport = make_transport(alice)
    queue_for([make_event(make_alert(alice))], at=now())
    silence = Silence.objects.create(
        owner=alice, kind="silence", starts_at=now(), ends_at=now() + timedelta(days=1)
    )
    optimisation = request_optimisation(portfolio, AllocationOptions(), at=now())
    return {
        "strategy_id": strategy.pk,
        "other_id": other.pk,
        "run_id": finished_run(alice, version=strategy.current_version).pk,
        "sweep_id": finished_sweep(alice).pk,
        "walk_forward_id": finished_walk_forward(alice).pk,
        "job_id": make_job(alice).pk,
        "import_id": make_import(alice).pk,
        "portfolio_id": portfolio.pk,
        "account_id": accounts[0].pk,
        "rebalance_id": rebalancing.propose(portfolio, at=now(), reason="Drifted.").pk,
        "optimisation_id": optimisation.pk,
        "transport_id": transport.pk,
        "notification_id": Notification.objects.get().pk,
        "delivery_id": Notification.objects.get().pk,
        "rule_id": make_rule(alice).pk,
        "alert_id": firing(alice, at=now()).pk,
        "silence_id": silence.pk,
        "symbol": "KO",
        "action": "acknowledge",
    }


@pytest.fixture
def vera(db):
    return make_user("vera", role="viewer")


def pages(ids: dict[str, Any]) -> Iterator[str]:
    """Return the address of every page that the rows of `ids` have."""
    for space, resolver in get_resolver().namespace_dict.items():
        if space not in (*OWN, "admin", "api-1"):
            for pattern in resolver[1].url_patterns:
                yield from filter(None, [_address(pattern, ids)])


def _address(pattern: URLPattern | URLResolver, ids: dict[str, Any]) -> str | None:
    route = str(pattern.pattern)
    known = {**ids, **{name: ids[key] for name, key in PEOPLE.items()}}
    known["search_id"] = ids["sweep_id" if route.startswith("sweeps") else "walk_forward_id"]
    known["chart"] = CHARTS.get(pattern.name or "", "equity")
    return _filled(route, known, r"<(?:\w+:)?(\w+)>", "/")


def operations(ids: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the method and address of every operation of the API."""
    for path, methods in api.get_openapi_schema()["paths"].items():
        known = {**ids, "search_id": ids["sweep_id" if "/sweeps" in path else "walk_forward_id"]}
        address = _filled(path, known, r"{(\w+)}", "")
        for method in methods if address and not path.startswith("/api/v1/me") else ():
            yield method, address


def _filled(route: str, known: dict[str, Any], names: str, start: str) -> str | None:
    if any(name not in known for name in re.findall(names, route)):
        return None
    return start + re.sub(names, lambda found: str(known[found[1]]), route)


def names_a_row(address: str, ids: dict[str, Any]) -> bool:
    return any(str(one) in address for one in ids.values() if isinstance(one, UUID))


def test_a_viewer_is_shown_every_page_that_its_owner_is_shown(ids, alice, bob, vera):
    owner, observer, stranger = signed_in(alice), signed_in(vera), signed_in(bob)
    shown = 0
    for address in pages(ids):
        answer = owner.get(address).status_code
        seen = observer.get(address).status_code
        # A form to change something is for those who may.
        assert seen in (answer, 403), address
        if answer == 200 and names_a_row(address, ids):
            shown += seen == 200
            assert stranger.get(address).status_code == 404, address
    assert shown >= 20


def test_a_viewer_changes_nothing_on_any_page(ids, vera):
    observer = signed_in(vera)
    refused = 0
    for address in pages(ids):
        answer = observer.post(address, {}).status_code
        assert answer in (403, 405), address
        refused += answer == 403
    assert refused >= 40


@pytest.mark.parametrize(
    "address", ["/strategies/", "/backtests/", "/sweeps/", "/walk-forwards/", "/jobs/", "/alerts/"]
)
def test_lists_and_exports_hold_what_belongs_to_others(ids, vera, bob, address):
    for person, is_shown in ((vera, True), (bob, False)):
        browser = signed_in(person)
        page = browser.get(f"{address}?state=").content.decode()
        assert any(str(one) in page for one in ids.values() if isinstance(one, UUID)) is is_shown
        rows = b"".join(browser.get(f"{address}?format=csv")).decode().splitlines()
        assert (len(rows) > 1) is is_shown


def test_a_viewers_token_reads_everything_and_writes_nothing(ids, alice, bob, vera, client):
    keys = {
        person: bearer(make_token(person, scope="read-write")[1]) for person in (alice, bob, vera)
    }
    shown = refused = 0
    for method, address in operations(ids):
        if method != "get":
            answer = client.generic(method, address, "{}", "application/json", headers=keys[vera])
            assert answer.status_code == 403, (method, address)
            refused += 1
            continue
        answer = client.get(address, headers=keys[alice]).status_code
        assert client.get(address, headers=keys[vera]).status_code == answer, address
        if answer == 200 and names_a_row(address, ids):
            shown += 1
            assert client.get(address, headers=keys[bob]).status_code == 404, address
    assert shown >= 15
    assert refused >= 40


def test_a_viewer_follows_live_what_a_page_shows(ids, bob, vera):
    for topic in ("strategy:{strategy_id}", "portfolio:{portfolio_id}", "job:{job_id}"):
        name = topic.format(**ids)
        assert stored_topic(vera, name) == name
        assert stored_topic(bob, name) is None
    assert stored_topic(vera, "job:nonsense") is None
    assert stored_topic(vera, "jobs") == f"jobs:u{vera.pk}"
