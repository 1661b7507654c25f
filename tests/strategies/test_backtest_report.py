"""The tear sheet of a backtest: the numbers and words of its page, as a file."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pypdfium2
import pytest
from django.utils.timezone import now
from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_PATH

from alphastrat.core.formatting import percent, signed_percent
from strategies.backtest_report import by_day
from strategies.models import BacktestRun
from strategies.services import examination
from strategies.services.foreign_imports import import_results
from strategies.services.results import Results
from tests.factories import bearer, make_token, signed_in
from tests.strategies.builders import finished_run, make_market, make_run
from tests.strategies.search_builders import finished_sweep, finished_walk_forward

pytestmark = pytest.mark.django_db
FOREIGN = Path(__file__).resolve().parents[1] / "data" / "foreign"


@pytest.fixture
def market():
    make_market()


def read(answer) -> str:
    """Return the words of a report, however they were broken into lines."""
    assert answer["Content-Type"] == "application/pdf"
    pages = pypdfium2.PdfDocument(answer.content)
    joined = " ".join(page.get_textpage().get_text_bounded() for page in pages)
    return " ".join(joined.replace("\xa0", " ").split())


def test_the_report_holds_what_the_page_shows(alice, market):
    run = finished_run(alice)
    examination.examine_run(str(run.pk), report=lambda *_: None)
    run.refresh_from_db()
    answer = signed_in(alice).get(run.get_absolute_url(), {"format": "pdf"})
    assert answer["Content-Disposition"] == f'attachment; filename="backtest-{str(run.pk)[:8]}.pdf"'
    words, results = read(answer), Results(run)
    held = percent(results.benchmark_numbers["total_return"])
    for shown in (
        run.title,
        str(signed_percent(run.total_return)),
        f"Buy and hold {held}",
        str(percent(run.metrics["worst_drawdowns"][0]["depth"])),
        "and underwater",
        "after 1 look at this hypothesis",
        "No sweep of this strategy",
        "nine in ten ended between",
        "RSI period 14 bars",
        "Commission",
        "2 bp",
        run.data_fingerprint[:16],
        run.code_version,
        f"numpy {run.library_versions['numpy']}",
        "System quality number",
    ):
        assert shown in words, shown
    for finding in run.findings:
        assert finding["text"] in words
    years, table = results.monthly_returns()
    for year, row in zip(years, table, strict=True):
        cells = [str(percent(value, 1)) for value in row if np.isfinite(value)]
        assert f"{year} {' '.join(cells)}" in words


def test_curves_are_drawn_as_vectors(alice, market):
    run = finished_run(alice)
    answer = signed_in(alice).get(run.get_absolute_url(), {"format": "pdf"})
    kinds = [
        one.type for page in pypdfium2.PdfDocument(answer.content) for one in page.get_objects()
    ]
    assert FPDF_PAGEOBJ_IMAGE not in kinds
    assert kinds.count(FPDF_PAGEOBJ_PATH) > 20


def test_searches_of_the_hypothesis_are_named(alice, market):
    run = finished_run(alice, symbols=("KO",))
    sweep, analysis = finished_sweep(alice, symbols=("KO",)), finished_walk_forward(alice)
    words = read(signed_in(alice).get(run.get_absolute_url(), {"format": "pdf"}))
    assert f"{percent(sweep.overfitting_probability, 0)}, in the newest sweep" in words
    assert f"{percent(analysis.efficiency, 0)}, of the newest walk-forward" in words


@pytest.mark.parametrize("symbols", [("KO",), ("AAPL", "JPM", "KO")])
def test_the_report_costs_the_same_queries_however_large_the_run(
    alice, market, symbols, django_assert_num_queries
):
    run, browser = finished_run(alice, symbols=symbols), signed_in(alice)
    # session, user, run, restated bars, trials, sweep, walk-forward
    with django_assert_num_queries(7):
        browser.get(run.get_absolute_url(), {"format": "pdf"})


def test_a_run_without_a_round_trip_has_a_report(alice, market):
    run = finished_run(alice, parameters={"oversold": 1, "overbought": 99})
    words = read(signed_in(alice).get(run.get_absolute_url(), {"format": "pdf"}))
    assert "Nothing was bought and sold." in words
    assert "The account never moved, so there is nothing to judge." in words
    assert "The account never fell below an earlier peak." in words


@pytest.mark.parametrize("name", ["pyfolio_returns.csv", "freqtrade_result.json"])
def test_the_result_of_another_tool_has_one_that_says_where_it_comes_from(alice, name):
    content = (FOREIGN / name).read_bytes()
    run = import_results(alice, content, file_name=name, at=now())[0].run
    words = read(signed_in(alice).get(run.get_absolute_url(), {"format": "pdf"}))
    assert "How often its author looked is not known." in words
    assert f"File {name}" in words
    assert "No sweep" not in words


def test_only_a_result_of_ones_own_has_a_report(alice, charlie, market, client):
    queued = make_run(alice)
    browser = signed_in(alice)
    assert browser.get(queued.get_absolute_url(), {"format": "pdf"}).status_code == 404
    run = finished_run(alice)
    assert "?format=pdf" in browser.get(run.get_absolute_url()).content.decode()
    assert signed_in(charlie).get(run.get_absolute_url(), {"format": "pdf"}).status_code == 404
    report = f"/api/v1/backtests/{run.pk}/report"
    assert run.title in read(client.get(report, headers=bearer(make_token(alice)[1])))
    assert client.get(report, headers=bearer(make_token(charlie)[1])).status_code == 404
    assert BacktestRun.objects.count() == 2


def test_a_day_closes_with_its_last_bar_and_fell_to_its_lowest():
    closes = [
        datetime(2024, 1, 2, 12, tzinfo=UTC),
        datetime(2024, 1, 3, 0, tzinfo=UTC),  # midnight: the day that ends
        datetime(2024, 1, 3, 12, tzinfo=UTC),
        datetime(2024, 1, 3, 20, tzinfo=UTC),
    ]
    fell = np.array([-0.10, -0.02, -0.03, -0.01])
    days, is_last, lowest = by_day(pd.DatetimeIndex(closes), fell)
    assert days == [date(2024, 1, 2), date(2024, 1, 3)]
    assert is_last.tolist() == [False, True, False, True]
    assert lowest.tolist() == [-0.10, -0.03]
