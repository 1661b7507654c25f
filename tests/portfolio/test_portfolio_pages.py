"""P&L, risk and rebalancing: pages, API and command."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import numpy as np
import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command

from portfolio.models import Order, Portfolio, PortfolioMember, Rebalance, RiskLimits
from portfolio.services import rebalancing
from portfolio.services.portfolio_performance import Period, attribution, load_performance
from tests.factories import bearer, make_token, make_user, signed_in
from tests.portfolio.allocation_builders import make_backtest
from tests.portfolio.risk_builders import AT, START, hold, make_portfolio, mark, order

PAGES = (
    "/portfolio/performance/",
    "/portfolio/risk/",
    "/portfolio/risk/tail/",
    "/portfolio/rebalancing/",
    "/portfolio/rebalancing/laboratory/",
)
HTMX = {"HX-Request": "true"}


@pytest.fixture
def full(alice):
    """Two strategies with positions, a hundred days of trading and a backtest each."""
    portfolio, accounts = make_portfolio(alice, n=2)
    rng = np.random.default_rng(5)
    for account in accounts:
        make_backtest(account.strategy, rng.normal(0.0004, 0.01, 500))
        mark(account, *rng.normal(0.0004, 0.01, 20).tolist())
        hold(account, 100, protection={"stop": 95})
    for account, target in zip(accounts, (0.3, 0.7), strict=True):
        PortfolioMember.objects.filter(strategy=account.strategy).update(target_weight=target)
    return portfolio, accounts


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(
        "portfolio.services.rebalance_checks.market_time", lambda timeframe, *, at: START
    )


@pytest.mark.parametrize("page", PAGES)
def test_pages_show_a_portfolio_to_its_owner_and_to_viewers_of_nothing(page, full, alice, charlie):
    assert signed_in(alice).get(page).status_code == 200
    assert signed_in(alice).get(page, headers=HTMX).status_code == 200
    portfolio, _accounts = full
    assert signed_in(charlie).get(page, {"portfolio": str(portfolio.pk)}).status_code == 404
    assert signed_in(alice).get(page, {"portfolio": "nonsense"}).status_code == 404


@pytest.mark.parametrize("page", ["/portfolio/performance/", "/portfolio/risk/", PAGES[3]])
def test_pages_without_a_portfolio_say_so(page, alice):
    assert b"There is no portfolio yet" in signed_in(alice).get(page).content


@pytest.mark.parametrize(
    ("page", "queries"),
    [
        # Session, user, running jobs, portfolio and its choices, live heads; then
        # stays, marks, transfers, the benchmarks to choose from and the series of the one
        # chosen, the attribution, and the instruments.
        ("/portfolio/performance/", 13),
        # Then the book's eleven, denials and actions.
        ("/portfolio/risk/", 19),
        # Then the snapshot's eight and the proposals.
        ("/portfolio/rebalancing/", 16),
    ],
)
def test_a_page_asks_the_same_number_of_queries_for_two_and_for_twenty(
    page, queries, alice, django_assert_max_num_queries
):
    counts = []
    for n in (2, 20):
        portfolio, accounts = make_portfolio(alice, n=n)
        for account in accounts:
            mark(account, 0.01, -0.02)
            hold(account, 10)
        client = signed_in(alice)
        client.get(page, {"portfolio": str(portfolio.pk)})
        with django_assert_max_num_queries(queries) as captured:
            client.get(page, {"portfolio": str(portfolio.pk)})
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_the_attribution_adds_up_to_the_sessions(full):
    portfolio, _accounts = full
    performance = load_performance(portfolio)
    for period in Period:
        parts = attribution(performance, period)
        assert sum(line.result.pnl for line in parts.lines) == parts.total.pnl
        assert parts.total.pnl == performance.pnl(period)
    assert performance.equity[-1] == sum(
        account.equity_points.order_by("-marked_at").first().equity for account in full[1]
    )


def test_capital_that_moves_inside_a_portfolio_is_no_result(alice, fresh):
    portfolio, accounts = make_portfolio(alice, n=2)
    mark(accounts[0], 0.10)
    mark(accounts[1], 0.0)
    before = load_performance(portfolio).period_return(Period.ALL)
    assert before == pytest.approx(0.05)
    PortfolioMember.objects.filter(strategy=accounts[0].strategy).update(target_weight=0.25)
    proposal = rebalancing.propose(Portfolio.objects.get(pk=portfolio.pk), at=AT)
    rebalancing.decide(proposal, is_approved=True, by=alice, at=AT)
    call_command("rebalance", portfolio.name, "--if-due")
    portfolio.refresh_from_db()
    assert load_performance(portfolio).period_return(Period.ALL) == pytest.approx(before)


def test_exports_hold_the_rows_of_the_page(full, alice):
    client = signed_in(alice)
    answer = client.get("/portfolio/performance/", {"format": "csv", "table": "sessions"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert len(rows) == 21
    assert {"day", "pnl", "equity"} <= set(rows[0])
    for page in (PAGES[1], PAGES[2], PAGES[4]):
        assert client.get(page, {"format": "csv"})["Content-Type"].startswith("text/csv")


@pytest.mark.parametrize(
    "url",
    [
        "/portfolio/performance/charts/equity/",
        "/portfolio/performance/charts/strategies/",
        "/portfolio/risk/charts/tail/",
        "/portfolio/rebalancing/laboratory/chart/",
    ],
)
def test_figures_are_json_with_a_conclusion(url, full, alice):
    figure = signed_in(alice).get(url).json()
    assert figure["data"]
    assert figure["layout"]["meta"]["summary"] if "meta" in figure["layout"] else figure


def test_the_kill_switch_works_from_the_page_and_needs_a_reason(full, alice):
    portfolio, _accounts = full
    client, url = signed_in(alice), "/portfolio/risk/trading/"
    client.post(url, {"portfolio": str(portfolio.pk), "trading_state": "halted", "reason": ""})
    portfolio.refresh_from_db()
    assert portfolio.trading_state == "active"
    answer = client.post(
        url,
        {"portfolio": str(portfolio.pk), "trading_state": "halted", "reason": "Fat finger"},
        follow=True,
    )
    portfolio.refresh_from_db()
    assert portfolio.trading_state == "halted"
    assert b"Fat finger" in answer.content


def test_a_halt_can_cancel_protective_exits_and_the_page_says_which(full, alice):
    portfolio, _accounts = full
    client, key = signed_in(alice), {"portfolio": str(portfolio.pk)}
    halt = {**key, "trading_state": "halted", "reason": "Fire"}
    page = client.post("/portfolio/risk/trading/", halt, follow=True).text
    assert "Stops and targets of what is held still act." in page
    page = client.post("/portfolio/risk/trading/", {**halt, "protection": "cancel"}, follow=True)
    assert "what is held is unprotected" in page.text
    portfolio.refresh_from_db()
    assert not portfolio.keeps_protection
    client.post("/portfolio/risk/trading/", {**halt, "trading_state": "active"})
    portfolio.refresh_from_db()
    assert portfolio.keeps_protection


def test_one_strategy_is_halted_from_its_account(full, alice, charlie):
    _portfolio, accounts = full
    account = accounts[0]
    url = f"/portfolio/risk/trading/{account.strategy_id}/"
    halt = {"trading_state": "halted", "reason": "Odd fills", "protection": "cancel"}
    assert signed_in(charlie).post(url, halt).status_code == 404
    client = signed_in(alice)
    answer = client.post(url, halt, follow=True)
    assert answer.redirect_chain[-1][0] == account.get_absolute_url()
    assert "Odd fills" in answer.text
    assert "what is held is unprotected" in answer.text
    assert f"{account.strategy.name}: Halted" in client.get("/portfolio/risk/").text
    answer = client.post(url, {"trading_state": "active", "reason": "Fixed"}, follow=True)
    assert "Odd fills" not in answer.text


def test_a_viewer_looks_and_does_not_touch(full):
    portfolio, _accounts = full
    viewer = make_user("victor", role="viewer")
    Portfolio.objects.filter(pk=portfolio.pk).update(owner=viewer)
    client, key = signed_in(viewer), {"portfolio": str(portfolio.pk)}
    page = client.get("/portfolio/risk/", key).content
    assert b"Halt trading" not in page
    posts = ("/portfolio/risk/trading/", "/portfolio/risk/limits/", "/portfolio/rebalancing/new/")
    for url in (*posts, "/portfolio/rebalancing/triggers/"):
        assert client.post(url, key).status_code == 403


def test_limits_are_set_on_their_page_and_judge_the_next_order(full, alice):
    portfolio, accounts = full
    client, url = signed_in(alice), f"/portfolio/risk/limits/?portfolio={portfolio.pk}"
    assert client.get(url).status_code == 200
    bad = client.post(url, {"drawdown_action": "reduce", "heat": "much"})
    assert bad.status_code == 422
    client.post(url, {"drawdown_action": "reduce", "order_quantity": "5", "drawdown": "12"})
    row = RiskLimits.objects.get(portfolio=portfolio)
    assert (row.values, row.drawdown_action) == (
        {"order_quantity": "5", "drawdown": "-0.12"},
        "reduce",
    )
    from portfolio.services.risk_manager import validate_order

    assert [d.code for d in validate_order(order(accounts[0], 6), at=AT)] == [
        "ORDER_QUANTITY_EXCEEDED"
    ]
    assert b'value="12' in client.get(url).content


def test_a_proposal_is_approved_in_two_steps(full, alice, fresh):
    portfolio, _accounts = full
    client = signed_in(alice)
    answer = client.post("/portfolio/rebalancing/new/", {"portfolio": str(portfolio.pk)})
    proposal = Rebalance.objects.get()
    assert answer.url == proposal.get_absolute_url()
    page = client.get(answer.url).content.decode()
    assert "Move $" in page
    client.post(f"{answer.url}decide/", {"decision": "approve"})
    proposal.refresh_from_db()
    assert (proposal.status, proposal.decided_by) == ("approved", alice)


def test_a_proposal_of_someone_else_does_not_exist(full, alice, charlie):
    portfolio, _accounts = full
    proposal = rebalancing.propose(portfolio, at=AT)
    url = proposal.get_absolute_url()
    assert signed_in(charlie).get(url).status_code == 404
    answer = signed_in(charlie).post(f"{url}decide/", {"decision": "approve"})
    assert answer.status_code == 404


def test_triggers_are_set_on_their_page(full, alice):
    portfolio, _accounts = full
    client = signed_in(alice)
    url = f"/portfolio/rebalancing/triggers/?portfolio={portfolio.pk}"
    assert client.get(url).status_code == 200
    values = {
        "calendar": "monthly",
        "is_absolute": "on",
        "absolute": "4",
        "relative": "25",
        "risk_aversion": "3",
        "risk_band": "25",
        "sharpe_share": "80",
        "target_sharpe": "1",
        "sharpe_window": "63",
        "volatility_high": "150",
        "volatility_low": "50",
        "volatility_window": "21",
        "volatility_long": "252",
        "rest_bars": "5",
        "destination": "edge",
        "cost_bps": "12",
        "minimum": "0.5",
    }
    assert client.post(url, {**values, "absolute": "-4"}).status_code == 422
    assert client.post(url, values).status_code == 302
    portfolio.refresh_from_db()
    stored = portfolio.rebalance_settings
    assert (stored["absolute"], stored["relative"], stored["on_status"]) == (0.04, None, False)
    assert (stored["cost_bps"], stored["minimum"], stored["calendar"]) == (12, 0.005, "monthly")


def test_a_trigger_is_switched_on_its_row_at_once_and_the_audit_log_says_by_whom(full, alice):
    portfolio, _accounts = full
    client = signed_in(alice)
    url = f"/portfolio/rebalancing/triggers/band/?portfolio={portfolio.pk}"
    row = client.post(url, {"state": "off"}, headers=HTMX)
    assert row.status_code == 200
    assert 'aria-checked="false"' in row.text
    portfolio.refresh_from_db()
    assert portfolio.rebalance_settings["absolute"] is None
    entry = LogEntry.objects.get_for_object(portfolio).latest("timestamp")
    assert entry.actor == alice
    assert "rebalance_settings" in entry.changes
    assert client.post(url, {"state": "on"}).status_code == 302
    portfolio.refresh_from_db()
    assert portfolio.rebalance_settings["absolute"] == 0.05
    assert client.post(url, {"state": "perhaps"}).status_code == 404
    manual = f"/portfolio/rebalancing/triggers/manual/?portfolio={portfolio.pk}"
    assert client.post(manual, {"state": "on"}).status_code == 404
    assert client.get(url).status_code == 405


def test_viewers_and_strangers_switch_no_trigger(full, charlie):
    portfolio, _accounts = full
    url = f"/portfolio/rebalancing/triggers/band/?portfolio={portfolio.pk}"
    assert signed_in(charlie).post(url, {"state": "off"}).status_code == 404
    viewer = make_user("victor", role="viewer")
    assert signed_in(viewer).post(url, {"state": "off"}).status_code == 403
    page = signed_in(viewer).get("/portfolio/rebalancing/", {"portfolio": str(portfolio.pk)})
    assert 'role="switch"' not in page.text


def test_the_api_switches_a_trigger(full, alice, client):
    _token, secret = make_token(alice)
    options = {"content_type": "application/json", "headers": bearer(secret)}
    base = "/api/v1/portfolio/triggers"
    answer = client.post(f"{base}/volatility", json.dumps({"is_on": True}), **options).json()
    assert answer["settings"]["volatility_high"] == 1.5
    (row,) = (row for row in answer["triggers"] if row["trigger"] == "volatility")
    assert row["is_on"]
    assert row["limit"] == "Outside 50 % to 150 %"
    assert client.post(f"{base}/manual", json.dumps({"is_on": True}), **options).status_code == 422
    viewing = bearer(make_token(make_user("victor", role="viewer"))[1])
    refused = client.post(
        f"{base}/volatility", json.dumps({"is_on": False}), **{**options, "headers": viewing}
    )
    assert refused.status_code == 403


def test_the_api_tells_performance_risk_and_rebalances(full, alice, client, fresh):
    portfolio, _accounts = full
    _token, secret = make_token(alice)
    headers = bearer(secret)
    query = f"?portfolio={portfolio.pk}"
    performance = client.get(f"/api/v1/portfolio/performance{query}", headers=headers).json()
    assert len(performance["sessions"]) == 21
    total = sum(Decimal(one["pnl"]) for one in performance["strategies"])
    assert total == Decimal(performance["pnl"])
    risk = client.get(f"/api/v1/portfolio/risk{query}", headers=headers).json()
    assert {row["method"] for row in risk["value_at_risk"]} == {
        "historical",
        "normal",
        "cornish_fisher",
        "monte_carlo",
    }
    assert all(row["value_at_risk"] < 0 for row in risk["value_at_risk"])
    options = {"content_type": "application/json", "headers": headers}
    asked = client.post(f"/api/v1/portfolio/rebalance{query}", json.dumps({}), **options)
    assert asked.status_code == 202
    assert asked.json()["status"] == "proposed"
    decided = client.post(
        f"/api/v1/portfolio/rebalances/{asked.json()['id']}/decision",
        json.dumps({"decision": "approve"}),
        **options,
    )
    assert decided.json()["status"] == "approved"
    listed = client.get(f"/api/v1/portfolio/rebalances{query}", headers=headers).json()
    assert listed["count"] == 1
    laboratory = client.get(f"/api/v1/portfolio/laboratory{query}", headers=headers).json()
    assert laboratory[0]["name"] == "As set now"


def test_the_api_sets_limits_triggers_and_the_trading_state(full, alice, client):
    portfolio, _accounts = full
    _token, secret = make_token(alice)
    options = {"content_type": "application/json", "headers": bearer(secret)}
    base = "/api/v1/portfolio"
    limits = client.put(f"{base}/limits", json.dumps({"values": {"heat": "0.04"}}), **options)
    assert limits.json()["values"]["heat"] == "0.04"
    refused = client.put(f"{base}/limits", json.dumps({"values": {"heat": "-1"}}), **options)
    assert refused.status_code == 422
    triggers = client.put(
        f"{base}/triggers", json.dumps({"settings": {"absolute": 0.03}}), **options
    )
    assert triggers.json()["settings"]["absolute"] == 0.03
    halted = {"trading_state": "halted", "reason": "Test"}
    answer = client.post(f"{base}/trading-state", json.dumps(halted), **options)
    assert answer.json()["trading_state"] == "halted"
    portfolio.refresh_from_db()
    assert portfolio.trading_state == "halted"


def test_the_command_proposes_executes_and_explains(full, capsys, fresh):
    portfolio, _accounts = full
    call_command("rebalance", portfolio.name, "--triggers")
    assert json.loads(capsys.readouterr().out)[1]["trigger"] == "band"
    call_command("rebalance", str(portfolio.pk), "--approve", "--json")
    document = json.loads(capsys.readouterr().out)
    # Positions are sold first: the movement waits for the next bar.
    assert document["status"] == "running"
    assert Order.objects.filter(reason="rebalance").exists()
    with pytest.raises(CommandError, match="under way"):
        call_command("rebalance", portfolio.name)
    with pytest.raises(CommandError, match="no portfolio called"):
        call_command("rebalance", "nobody's")
