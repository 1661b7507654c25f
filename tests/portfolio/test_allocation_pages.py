"""Pages, API and command of allocation, correlation and portfolios."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alphastrat.core import jobs
from portfolio.models import Optimisation, Portfolio
from portfolio.services import correlation, portfolio_optimizer, portfolios
from portfolio.services.allocation_options import AllocationOptions, options_of
from tests.factories import bearer, make_token, make_user, signed_in
from tests.portfolio.allocation_builders import make_backtest, make_book
from tests.strategies.builders import make_strategy

AT = datetime(2026, 7, 1, tzinfo=UTC)
ALLOCATION = "/portfolio/allocation/"
CORRELATION = "/portfolio/correlation/"


@pytest.fixture
def book(alice):
    return make_book(alice, 5)


def form_data(portfolio, **changes):
    """Return what the browser sends for the default options."""
    options = {**AllocationOptions().as_json(), **changes}
    percents = ("max_weight", "min_weight", "cash", "max_correlated", "risk_free", "confidence")
    data = {
        name: value * 100 if name in percents else value
        for name, value in options.items()
        if value is not None and not isinstance(value, list | dict)
    }
    return data | {"portfolio": str(portfolio.pk)}


def answered(portfolio, **options):
    asked = portfolio_optimizer.request_optimisation(portfolio, options_of(options), at=AT)
    jobs.run_job(str(asked.job_id))
    asked.refresh_from_db()
    return asked


def test_without_a_portfolio_the_page_offers_to_make_one(alice):
    for path in (ALLOCATION, CORRELATION):
        page = signed_in(alice).get(path)
        assert page.status_code == 200
        assert b"Make a portfolio" in page.content
    viewer = signed_in(make_user("vera", role="viewer"))
    assert b"Make a portfolio" not in viewer.get(ALLOCATION).content


def test_the_page_shows_weights_targets_and_the_newest_answer(alice, book):
    portfolios.set_targets(book, {book.members.first().strategy_id: 0.4})
    asked = answered(book, method="min_volatility")
    page = signed_in(alice).get(ALLOCATION).content.decode()
    assert "Target against actual" in page
    assert "40.0%" in page
    assert "Minimum volatility" in page
    assert "Weights found" in page
    assert "Out of sample against equal weight" in page
    assert f"/portfolio/allocation/{asked.pk}/use/" in page
    assert 'style="' not in page
    assert "<script>" not in page


def test_without_capital_there_is_no_correlation_before(alice, book):
    answered(book, method="min_volatility")
    for path in (ALLOCATION, CORRELATION):
        page = signed_in(alice).get(path).content.decode()
        assert "there is no capital yet to compare it with" in page
        assert "no clear change" not in page


def test_a_conflict_is_shown_with_what_would_resolve_it_and_no_solver_words(alice):
    portfolio = make_book(alice, 3)
    answered(portfolio)
    page = signed_in(alice).get(ALLOCATION).content.decode()
    assert "These cannot be met together" in page
    assert "at most 33.4 % per strategy instead of 30 %" in page
    for word in ("infeasible", "Infeasible", "status", "solver"):
        assert word not in page.split("Conflict")[1].split("</section>")[0]


def test_optimise_asks_once_and_remembers_the_settings(alice, book):
    client = signed_in(alice)
    data = form_data(book, method="hrp", max_weight=0.4)
    answer = client.post("/portfolio/allocation/optimise/", data)
    assert answer.status_code == 302
    asked = Optimisation.objects.get()
    assert asked.method == "hrp"
    assert asked.options["max_weight"] == 0.4
    book.refresh_from_db()
    assert book.allocation_settings["method"] == "hrp"
    page = client.get(ALLOCATION).content.decode()
    assert f'id="job-{asked.job_id}"' in page


def test_a_draft_answers_the_form_and_starts_nothing(alice, book):
    data = form_data(book, min_weight=0.5)
    answer = signed_in(alice).post(
        "/portfolio/allocation/optimise/?validate=1", data, headers={"HX-Request": "true"}
    )
    assert answer.status_code == 200
    assert b"The smallest weight cannot be above the largest." in answer.content
    assert not Optimisation.objects.exists()
    assert signed_in(alice).post("/portfolio/allocation/optimise/", data).status_code == 422


def test_too_little_room_is_said_while_typing(alice):
    portfolio = make_book(alice, 3)
    answer = signed_in(alice).post(
        "/portfolio/allocation/optimise/?validate=1", form_data(portfolio)
    )
    assert "3 strategies at 30.0% make 90% of the 100% to be invested" in answer.content.decode()


def test_fields_of_a_method_appear_with_it(alice, book):
    client = signed_in(alice)
    path = "/portfolio/allocation/optimise/?validate=1"
    plain = client.post(path, form_data(book)).content
    budget = client.post(path, form_data(book, method="risk_budget")).content
    target = client.post(path, form_data(book, method="target_return")).content
    views = client.post(path, form_data(book, return_model="black_litterman")).content
    assert b"Risk budgets</h3>" not in plain
    assert b"Risk budgets</h3>" in budget
    assert b"This method needs a target." in target
    assert b"Black-Litterman needs at least one view." in views


def test_weights_become_targets_by_a_post_of_their_own(alice, book):
    asked = answered(book, method="hrp")
    answer = signed_in(alice).post(f"/portfolio/allocation/{asked.pk}/use/")
    assert answer.status_code == 302
    weights = book.members.values_list("target_weight", flat=True)
    assert sum(weights) == pytest.approx(1.0)


def test_charts_answer_figures_and_numbers(alice, book):
    asked = answered(book, method="min_volatility")
    client = signed_in(alice)
    for chart in ("frontier", "walk-forward"):
        path = f"/portfolio/allocation/{asked.pk}/charts/{chart}/"
        assert client.get(path).json()["data"]
        assert client.get(f"{path}?format=csv").getvalue().decode().count("\n") > 5
    assert client.get(f"/portfolio/allocation/{asked.pk}/charts/other/").status_code == 404


def test_the_matrix_says_in_words_what_its_colours_say(alice, book):
    page = signed_in(alice).get(f"{CORRELATION}?window=all").content.decode()
    assert 'data-band="low"' in page
    assert '<span class="band-word">low</span>' in page
    assert "common days" in page
    stress = signed_in(alice).get(f"{CORRELATION}?regime=stress").content.decode()
    assert "Stress: worst 10 % of days" in stress


def test_a_pair_above_the_warning_is_named_and_its_page_opens(alice):
    portfolio = make_book(alice, 2)
    first, second = portfolio.members.order_by("strategy__name")
    twin = np.random.default_rng(1).normal(0, 0.01, 300)
    for member, noise in ((first, 0.0), (second, 0.001)):
        own = twin + np.random.default_rng(2).normal(0, 1, 300) * noise
        make_backtest(member.strategy, own, finished_at=AT)
    client = signed_in(alice)
    page = client.get(f"{CORRELATION}?window=all").content.decode()
    assert "1 pair above 0.60" in page
    assert 'data-band="high"' in page
    path = f"{CORRELATION}{first.strategy_id}/{second.strategy_id}/"
    assert "Strategy 0 and Strategy 1" in client.get(path).content.decode()
    for chart in ("rolling", "scatter"):
        assert client.get(f"{path}?chart={chart}").json()["data"]


def test_too_few_common_days_are_called_insufficient(alice):
    portfolio = make_book(alice, 3, short=1)
    page = signed_in(alice).get(f"{CORRELATION}?window=all").content.decode()
    assert "insufficient" in page
    found = correlation.study(correlation.gather(portfolio, at=AT), window="all")
    assert found.n_insufficient == 2


def test_candidates_are_those_outside_any_portfolio(alice, book):
    outside = make_strategy(alice, name="Outside", symbols=["AAA"])
    make_backtest(outside, -np.random.default_rng(1).normal(0.0002, 0.004, 400))
    found = correlation.candidates(correlation.gather(book, at=AT))
    assert [one.name for one in found] == ["Outside"]
    assert b"Outside" in signed_in(alice).get(CORRELATION).content


def test_tables_are_exported_whole(alice):
    book = make_book(alice, 6, short=1)
    answered(book)
    client = signed_in(alice)

    def rows_of(path, **asked):
        given = {"format": "json", "portfolio": str(book.pk), **asked}
        return json.loads(b"".join(client.get(path, given).streaming_content))

    assert len(rows_of(ALLOCATION)) == 6
    found = rows_of(ALLOCATION, table="found")
    assert sum(row["weight"] for row in found) == pytest.approx(1.0)
    assert all(row["low"] <= row["high"] for row in found)
    pairs = rows_of(CORRELATION)
    assert [row["correlation"] is None for row in pairs] == [False] * 10 + [True] * 5
    assert {row["band"] for row in pairs[10:]} == {"insufficient"}
    make_backtest(make_strategy(alice, symbols=["AAA"], name="Outside"), np.full(40, 0.01))
    assert [row["name"] for row in rows_of(CORRELATION, table="candidates")] == ["Outside"]
    for form in ("csv", "parquet"):
        assert client.get(ALLOCATION, {"format": form, "table": "found"}).status_code == 200


def test_the_owner_alone_sees_and_a_viewer_changes_nothing(alice, charlie, book):
    asked = answered(book, method="hrp")
    member = book.members.first().strategy_id
    paths = [
        f"{ALLOCATION}?portfolio={book.pk}",
        f"{CORRELATION}?portfolio={book.pk}",
        f"/portfolios/{book.pk}/edit/",
        f"/portfolio/allocation/{asked.pk}/charts/frontier/",
        f"{CORRELATION}{member}/{member}/",
    ]
    for path in paths:
        assert signed_in(charlie).get(path).status_code == 404, path
    use = f"/portfolio/allocation/{asked.pk}/use/"
    assert signed_in(charlie).post(use).status_code == 404
    viewer = signed_in(make_user("vera", role="viewer"))
    assert viewer.post(use).status_code == 403
    assert viewer.get("/portfolios/new/").status_code == 403


def test_a_portfolio_is_made_changed_and_removed(alice):
    strategies = [make_strategy(alice, name=f"S{i}", symbols=_symbol()) for i in range(3)]
    client = signed_in(alice)
    data = {
        "name": "Book",
        "currency": "eur",
        "reserve": "1000",
        **{f"member__{one.pk}": "on" for one in strategies[:2]},
        f"maximum__{strategies[0].pk}": "25",
        f"group__{strategies[0].pk}": "Trend",
        f"locked__{strategies[1].pk}": "2027-01-31",
    }
    assert client.post("/portfolios/new/", data).status_code == 302
    made = Portfolio.objects.get()
    assert (made.name, made.currency, made.reserve) == ("Book", "EUR", Decimal(1000))
    first, second = made.members.order_by("strategy__name")
    assert (first.maximum_weight, first.group) == (0.25, "Trend")
    assert second.locked_until == datetime(2027, 1, 31, tzinfo=UTC)
    portfolios.set_targets(made, {first.strategy_id: 0.6, second.strategy_id: 0.4})
    changed = {key: value for key, value in data.items() if str(strategies[1].pk) not in key}
    edit = f"/portfolios/{made.pk}/edit/"
    assert client.post(edit, {**changed, f"member__{strategies[2].pk}": "on"}).status_code == 302
    targets = dict(made.members.values_list("strategy__name", "target_weight"))
    assert targets == {"S0": 0.6, "S2": 0.0}
    assert client.post(f"/portfolios/{made.pk}/remove/").status_code == 302
    assert not Portfolio.objects.exists()


def _symbol():
    from alphastrat.marketdata.models import Instrument

    Instrument.objects.get_or_create(symbol="AAA")
    return ["AAA"]


def test_a_name_or_a_strategy_that_is_taken_is_said_at_its_field(alice, book):
    client = signed_in(alice)
    taken = client.post("/portfolios/new/", {"name": "Main", "currency": "USD", "reserve": 0})
    assert taken.status_code == 422
    assert b"Choose another name." in taken.content
    key = book.members.first().strategy_id
    stolen = client.post(
        "/portfolios/new/",
        {"name": "B", "currency": "USD", "reserve": 0, f"member__{key}": "on"},
    )
    assert stolen.status_code == 302
    assert not Portfolio.objects.get(name="B").members.exists()


@pytest.mark.parametrize(("path", "most"), [(ALLOCATION, 25), (CORRELATION, 25)])
def test_pages_take_the_same_queries_for_2_and_20_strategies(alice, path, most):
    client = signed_in(alice)
    make_backtest(make_strategy(alice, name="Outside", symbols=_symbol()), np.full(40, 0.001))
    counts = []
    for n in (2, 20):
        portfolio = make_book(alice, n)
        client.get(path)
        # Session and user; portfolios; members, accounts, positions, standings and their days;
        # live returns and backtests; candidates; the newest answer; live heads.
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        counts.append(len(queries))
        portfolios.remove_portfolio(portfolio)
        for strategy in alice.strategies.all():
            strategy.name = f"{strategy.name} of {n}"
            strategy.save()
    assert counts[0] == counts[1] <= most, counts


def test_the_api_makes_optimises_applies_and_correlates(alice):
    _, secret = make_token(alice)
    client, headers = signed_in(alice), bearer(secret)
    book = make_book(alice, 5)
    listed = client.get("/api/v1/portfolios", headers=headers).json()
    assert [one["name"] for one in listed] == ["Main"]
    answer = client.post(
        "/api/v1/portfolio/optimize",
        json.dumps({"portfolio_id": str(book.pk), "options": {"method": "max_sharpe"}}),
        content_type="application/json",
        headers=headers,
    )
    assert answer.status_code == 202
    jobs.run_job(answer.json()["id"])
    asked = Optimisation.objects.get()
    found = client.get(f"/api/v1/portfolio/optimizations/{asked.pk}", headers=headers).json()
    assert found["status"] == "succeeded"
    applied = client.post(f"/api/v1/portfolio/optimizations/{asked.pk}/apply", headers=headers)
    assert sum(row["target_weight"] for row in applied.json()["strategies"]) >= 0
    correlated = client.get(
        f"/api/v1/portfolio/correlation?portfolio_id={book.pk}&window=all", headers=headers
    ).json()
    assert len(correlated["pairs"]) == 10
    assert 0 <= correlated["diversification_score"] <= 100


def test_the_api_is_about_the_first_portfolio_of_one_s_own_where_none_is_named(alice, charlie):
    book = make_book(alice, 3)
    headers = bearer(make_token(alice)[1])
    client, base = signed_in(alice), "/api/v1/portfolio"
    for address in ("allocation", "correlation"):
        answer = client.get(f"{base}/{address}", headers=headers).json()
        assert answer["portfolio_id"] == str(book.pk)
    asked = client.post(f"{base}/optimize", "{}", content_type="application/json", headers=headers)
    assert asked.status_code == 202
    assert book.optimisations.count() == 1
    nobody = bearer(make_token(charlie)[1])
    assert signed_in(charlie).get(f"{base}/allocation", headers=nobody).status_code == 422


def test_the_api_names_what_is_wrong_and_hides_what_is_not_yours(alice, charlie, book):
    _, secret = make_token(charlie)
    headers = bearer(secret)
    client = signed_in(charlie)
    body = json.dumps({"portfolio_id": str(book.pk)})
    asked = {"content_type": "application/json", "headers": headers}
    assert client.post("/api/v1/portfolio/optimize", body, **asked).status_code == 404
    _, own = make_token(alice)
    wrong = client.post(
        "/api/v1/portfolio/optimize",
        json.dumps({"portfolio_id": str(book.pk), "options": {"max_weight": 7}}),
        content_type="application/json",
        headers=bearer(own),
    )
    assert wrong.status_code == 422
    assert "max_weight" in wrong.json()["fields"]


def test_the_command_prints_weights_and_says_why_there_are_none(alice, book):
    out = StringIO()
    call_command("optimize_portfolio", "Main", method="hrp", apply=True, stdout=out)
    assert "Strategy 0" in out.getvalue()
    assert "targets now" in out.getvalue()
    assert sum(book.members.values_list("target_weight", flat=True)) == pytest.approx(1.0)
    with pytest.raises(CommandError, match="cannot be met together"):
        call_command("optimize_portfolio", str(book.pk), max_weight=0.1, stdout=out)
    with pytest.raises(CommandError, match="no portfolio"):
        call_command("optimize_portfolio", "Nobody", stdout=out)
