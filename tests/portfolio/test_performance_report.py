"""The P&L as a PDF: the page's own numbers."""

from __future__ import annotations

import pypdfium2
import pytest

from portfolio.performance_report import session_summary
from portfolio.services.portfolio_performance import load_performance
from tests.factories import bearer, make_token, signed_in
from tests.portfolio.risk_builders import hold, make_portfolio, mark

PAGE = "/portfolio/performance/"
API = "/api/v1/portfolio/performance"


def text_of(content: bytes) -> str:
    pages = pypdfium2.PdfDocument(content)
    joined = "\n".join(page.get_textpage().get_text_bounded() for page in pages)
    return joined.replace("\xa0", " ")


@pytest.fixture
def two(alice):
    portfolio, accounts = make_portfolio(alice, n=2, name="Värde")
    mark(accounts[0], 0.10, -0.05, *[0.001] * 30)
    mark(accounts[1], -0.20, 0.01, *[0.0] * 30)
    hold(accounts[0], 10)
    return portfolio, accounts


def test_the_report_holds_what_the_page_shows(two, alice):
    answer = signed_in(alice).get(PAGE, {"format": "pdf", "period": "all"})
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"].endswith('profit-and-loss-2016-02-05.pdf"')
    words = text_of(answer.content)
    performance = load_performance(two[0])
    # 100,000 each: 1.1 * 0.95 * 1.001 ** 30 and 0.8 * 1.01.
    for shown in ("P&L of Värde", "$188,481", "−$11,519", "+$7,680.88", "−$19,200.00"):
        assert shown in words, shown
    assert f"{len(performance.days)} sessions" in words


def test_sessions_are_summed_up(two):
    found = dict(session_summary(load_performance(two[0])))
    assert (str(found["Sessions"]), found["With a profit"]) == ("33", "30 (90.9%)")
    assert found["With a loss"] == "2 (6.1%)"
    # 10,000 - 20,000 on the first day, then -5,500 + 800.
    assert str(found["Worst, 5 Jan 2016"]) == "−$10,000.00"
    assert str(found["Mean loss of those with one"]) == "−$7,350.00"
    assert str(found["Capital in, with accounts that joined"]) == "$200,000.00"


def test_a_portfolio_without_sessions_has_a_report(alice):
    make_portfolio(alice, n=1)
    answer = signed_in(alice).get(PAGE, {"format": "pdf"})
    assert "No session has been marked yet." in text_of(answer.content)


def test_the_api_answers_the_report_and_its_numbers(two, alice, charlie, client):
    headers = bearer(make_token(alice)[1])
    answer = client.get(f"{API}/report", {"portfolio": str(two[0].pk)}, headers=headers)
    assert answer["Content-Type"] == "application/pdf"
    assert "P&L of Värde" in text_of(answer.content)
    found = client.get(API, {"benchmark": "universe"}, headers=headers).json()
    assert found["benchmark"] is None
    assert sum(float(one["pnl"]) for one in found["instruments"]) == pytest.approx(
        float(found["pnl"])
    )
    assert found["sessions"][-1]["benchmark_return"] is None
    other = bearer(make_token(charlie)[1])
    assert (
        client.get(f"{API}/report", {"portfolio": str(two[0].pk)}, headers=other).status_code == 404
    )
