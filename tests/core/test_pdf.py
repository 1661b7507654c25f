"""Reports as PDF say what they were given, and draw it where it belongs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pypdfium2
import pytest

from alphastrat.core.formatting import percent, signed_money
from alphastrat.core.pdf import Card, Document, Line, _Plot, month_ticks, nice_ticks

AT = datetime(2017, 5, 3, 12, tzinfo=UTC)


def words(content: bytes) -> list[str]:
    pages = pypdfium2.PdfDocument(content)
    return [page.get_textpage().get_text_bounded().replace("\xa0", " ") for page in pages]


def test_a_report_says_what_it_was_given():
    document = Document("P&L of Zürich – Łódź", "Two sessions.", at=AT)
    document.cards([Card("Last session", signed_money(-249), "−0.04%")])
    document.heading("By strategy", "Since the beginning")
    document.table(("Strategy", "Result"), [("One", signed_money(1234.5))], has_total=True)
    (page,) = words(document.output())
    for text in (
        "P&L of Zürich – Łódź",
        "▼ −$249.00",
        "−0.04%",
        "▲ +$1,234.50",
        "made 3 May 2017, 12:00 UTC",
        "1 / 1",
    ):
        assert text in page


def test_a_long_table_repeats_its_headings_on_every_page():
    document = Document("Long", "", at=AT)
    document.table(("Session", "P&L"), [(str(n), signed_money(n)) for n in range(200)])
    pages = words(document.output())
    assert len(pages) > 3
    assert all("Session" in page for page in pages)


def test_numbers_never_break():
    document = Document("Wide", "", at=AT)
    row = ["A strategy with a name that is far too long for one line of a table" * 2]
    row += [signed_money(-123_456_789.01) for _ in range(7)]
    document.table([f"Heading {n}" for n in range(8)], [row])
    (page,) = words(document.output())
    assert page.count("▼ −$123,456,789.01") == 7


def test_curves_are_vectors_and_skip_what_is_not_known():
    days = [date(2017, 1, 2) + timedelta(days=n) for n in range(2_000)]
    values = np.sin(np.arange(2_000.0))
    values[:100] = np.nan
    document = Document("Curves", "", at=AT)
    document.chart(days, [Line("Sine", "equity", values.tolist())], height=40, ticks=percent)
    document.chart(days, [Line("No", "drawdown", [float("nan")] * 2_000)], height=20, ticks=percent)
    content = document.output()
    assert b"/Subtype /Image" not in content
    assert len(content) < 60_000
    assert "Sine" in words(content)[0]


def test_places_are_proportional_to_days_and_values():
    days = [date(2017, 1, 1), date(2017, 1, 2), date(2017, 1, 11)]
    plot = _Plot.fit(days, [Line("A", "equity", [0.0, 50.0, 100.0])], top=10, height=54)
    assert plot.x(days[1].toordinal()) - plot.left == pytest.approx(plot.width / 10)
    # A margin of 4 % above and below: 108 units of value on 54 mm.
    assert plot.y(100.0) == pytest.approx(12)
    assert plot.y(0.0) - plot.y(50.0) == pytest.approx(25)


@pytest.mark.parametrize(
    ("low", "high", "n", "expected"),
    [
        (0.0, 1.0, 4, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-130.0, 420.0, 5, [-100, 0, 100, 200, 300, 400]),
        (99.7, 100.4, 3, [99.8, 100.0, 100.2, 100.4]),
    ],
)
def test_ticks_are_round_numbers(low, high, n, expected):
    assert nice_ticks(low, high, n) == pytest.approx(expected)


def test_months_are_spread_evenly():
    days = [date(2016, 1, 4) + timedelta(days=n) for n in range(365 * 2)]
    found = month_ticks(days)
    assert found[:2] == [date(2016, 3, 1), date(2016, 7, 1)]
    assert len(found) <= 6
    assert month_ticks([date(2016, 1, 4), date(2016, 1, 5)]) == []
