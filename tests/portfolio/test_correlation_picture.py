"""The correlation matrix as a picture has the cells of the page."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from alphastrat.core.print_style import rgb
from portfolio.correlation_picture import BACKGROUNDS, CELL, SURFACE, _frame, _shortened, matrix_png
from portfolio.quant.correlation import Band
from portfolio.services import correlation
from tests.factories import signed_in
from tests.portfolio.allocation_builders import make_book

AT = datetime(2026, 7, 1, tzinfo=UTC)
PAGE = "/portfolio/correlation/"


def drawn(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_each_cell_has_the_colour_of_its_band(alice):
    found = correlation.study(correlation.gather(make_book(alice, 5, short=1), at=AT), window="all")
    shown = [int(i) for i in found.order]
    picture = drawn(matrix_png(found, shown, title="T", note="N"))
    frame = _frame([found.names[i] for i in shown], title="T", note="N")
    assert picture.size == frame.size
    bands = set()
    for row, i in enumerate(shown):
        for column, j in enumerate(shown):
            left, top, _, _ = frame.cell(row, column)
            band = found.band_of(i, j)
            wanted = SURFACE if i == j else BACKGROUNDS[band]
            # Inside the cell, beside its number.
            assert picture.getpixel((left + 12, top + CELL[1] // 2)) == rgb(wanted)
            bands |= set() if i == j else {band}
    assert Band.INSUFFICIENT in bands
    assert len(bands) > 1


def test_numbers_and_words_differ_between_cells(alice):
    found = correlation.study(correlation.gather(make_book(alice, 3), at=AT), window="all")
    shown = [int(i) for i in found.order]
    picture = drawn(matrix_png(found, shown, title="T", note="N"))
    frame = _frame([found.names[i] for i in shown], title="T", note="N")
    upper = np.asarray(picture.crop(frame.cell(0, 1)))
    assert (upper == np.asarray(picture.crop(frame.cell(1, 0)))).all()
    assert len(np.unique(upper.reshape(-1, 3), axis=0)) > 2


def test_the_page_offers_the_picture(alice):
    book = make_book(alice, 4)
    client = signed_in(alice)
    page = client.get(PAGE, {"window": "all"}).text
    assert f"?portfolio={book.pk}&amp;window=all&amp;regime=all&amp;format=png" in page
    answer = client.get(PAGE, {"window": "all", "format": "png"})
    assert answer["Content-Type"] == "image/png"
    assert drawn(answer.content).width > 4 * CELL[0]


@pytest.mark.parametrize("n", [0, 1])
def test_small_portfolios_have_small_pictures(alice, n):
    make_book(alice, 2)
    found = correlation.study(correlation.gather(alice.portfolios.get(), at=AT), window="all")
    assert drawn(matrix_png(found, range(n), title="T", note="N")).height < 600


def test_a_long_name_is_shortened():
    assert _shortened("Short") == "Short"
    assert _shortened("W" * 200).endswith("W…")
    assert len(_shortened("W" * 200)) < 40
