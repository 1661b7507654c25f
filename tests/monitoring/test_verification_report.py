"""The verification as a PDF: the page's own numbers."""

from __future__ import annotations

import pypdfium2
import pytest
from django.urls import reverse

from monitoring.models import Verification, VerificationTransition
from monitoring.quant.checks import Check, CheckState
from monitoring.services import performance_validator
from monitoring.services.live_parts import live_figures
from monitoring.verification_report import promised, verification_report
from monitoring.verification_tables import written
from tests.factories import bearer, make_token, make_user, signed_in
from tests.monitoring.verification_builders import (
    AT,
    make_account,
    make_promised,
    make_strategy,
    trade_like_shadow,
)
from tests.strategies.builders import make_market

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def text_of(content: bytes) -> str:
    pages = pypdfium2.PdfDocument(content)
    joined = " ".join(page.get_textpage().get_text_bounded() for page in pages)
    return " ".join(joined.replace("\xa0", " ").split())


@pytest.fixture
def judged(alice):
    """Alice's strategy with a year of live trading that its shadow explains, but for 20 bp."""
    make_market()
    strategy, _ = make_promised(alice, "Återgång")
    trade_like_shadow(make_account(strategy), worse_bps=20.0)
    performance_validator.evaluate([strategy.pk], at=AT)
    return strategy


def detail(strategy):
    return reverse("monitoring:verification-detail", args=[strategy.pk])


def test_the_report_holds_what_the_page_shows(judged, alice):
    VerificationTransition.objects.create(
        strategy=judged,
        before="monitoring",
        after="watch",
        happened_at=AT,
        reason="Until Monday",
        overridden_by=alice,
    )
    answer = signed_in(alice).get(detail(judged), {"format": "pdf"})
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"].startswith(
        f'attachment; filename="verification-{judged.pk}'
    )
    words = text_of(answer.content)
    verification = Verification.objects.get()
    found = performance_validator.examine(judged.pk, at=AT)
    assert "Verification of Återgång" in words
    assert f"{verification.n_bars} live bars" in words
    for check in found.checks:
        if check.key != "freshness":  # it counts from now
            assert check.label in words
            assert written(check.key, check.unit, check.value) in words
            assert promised(check) in words
            assert check.text.split("(")[0].strip() in words
    for shown in ("Which part moved", "Execution", "Edge", "to watch", "Until Monday", "by alice"):
        assert shown in words, shown
    assert live_figures(found).profit_note in words
    assert f"The evidence counts {len(found.times)} bars" in words


def test_a_strategy_that_never_traded_has_a_report(alice):
    make_market()
    words = text_of(verification_report(make_strategy(alice), at=AT))
    for shown in ("no live bar yet", "Nothing has been promised yet.", "No change yet."):
        assert shown in words, shown


def test_the_api_answers_the_report(judged, alice, client):
    address = f"/api/v1/strategies/{judged.pk}/verification/report"
    answer = client.get(address, headers=bearer(make_token(alice)[1]))
    assert answer["Content-Type"] == "application/pdf"
    assert "Verification of Återgång" in text_of(answer.content)
    other = bearer(make_token(make_user("charlie"))[1])
    assert client.get(address, headers=other).status_code == 404


def test_the_page_leads_to_the_report(judged, alice):
    assert 'href="?format=pdf"' in signed_in(alice).get(detail(judged)).content.decode()


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.4, None, "at least 40.0%"),
        (None, 0.2, "at most 20.0%"),
        (0.1, 0.2, "10.0% to 20.0%"),
        (None, None, "—"),
    ],
)
def test_an_interval_is_open_where_nothing_was_promised(low, high, shown):
    check = Check("win_rate", "Win rate", CheckState.PASS, 0.5, low, high, "percent", None, "")
    assert promised(check) == shown
