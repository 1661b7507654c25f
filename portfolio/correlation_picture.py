"""The correlation matrix as a picture: the cells of the page with their numbers and words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from alphastrat.core.formatting import MISSING, ratio
from alphastrat.core.print_style import font_path, rgb
from portfolio.quant.correlation import Band
from portfolio.services.correlation import CorrelationStudy

# Pixels of a picture that is sharp at twice the size of a page.
CELL = (150, 84)
MARGIN = 48
GAP = 4
MAX_NAME = 460
TEXT, MUTED = "colors.semantic.text.primary", "colors.semantic.text.muted"
SURFACE, EMPTY = "colors.semantic.surface", "colors.semantic.sunken"
BACKGROUNDS = {
    Band.HIGH: "colors.semantic.status_bg.error",
    Band.MODERATE: "colors.semantic.status_bg.warning",
    Band.LOW: "colors.semantic.status_bg.success",
    Band.INSUFFICIENT: EMPTY,
}
WORDS = {
    Band.HIGH: "high",
    Band.MODERATE: "moderate",
    Band.LOW: "low",
    Band.INSUFFICIENT: "insufficient",
}


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the cells of the matrix lie on the picture."""

    left: int
    top: int
    n: int
    size: tuple[int, int]

    def cell(self, row: int, column: int) -> tuple[int, int, int, int]:
        x, y = self.left + column * CELL[0], self.top + row * CELL[1]
        return x, y, x + CELL[0] - GAP, y + CELL[1] - GAP


def matrix_png(found: CorrelationStudy, shown: Sequence[int], *, title: str, note: str) -> bytes:
    """Draw the matrix of the strategies `shown`, in that order."""
    from PIL import Image, ImageDraw

    names = [_shortened(found.names[i]) for i in shown]
    frame = _frame(names, title=title, note=note)
    picture = Image.new("RGB", frame.size, rgb(SURFACE))
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, font=_font(36, bold=True), fill=rgb(TEXT))
    draw.text((MARGIN, MARGIN + 52), note, font=_font(22), fill=rgb(MUTED))
    for row, name in enumerate(names):
        _, top, _, bottom = frame.cell(row, 0)
        middle = (frame.left - 20, (top + bottom) // 2)
        draw.text(middle, name, font=_font(24), fill=rgb(TEXT), anchor="rm")
        _heading(picture, name, frame, row)
        for column, other in enumerate(shown):
            _cell(draw, frame.cell(row, column), found, shown[row], other)
    sink = io.BytesIO()
    picture.save(sink, "PNG", compress_level=3)
    return sink.getvalue()


def _frame(names: Sequence[str], *, title: str, note: str) -> _Frame:
    longest = max((int(_font(24).getlength(name)) for name in names), default=0)
    left, top = MARGIN + longest + 24, MARGIN + 110 + longest
    width = max(
        left + len(names) * CELL[0],
        MARGIN + int(_font(36, bold=True).getlength(title)),
        MARGIN + int(_font(22).getlength(note)),
    )
    return _Frame(left, top, len(names), (width + MARGIN, top + len(names) * CELL[1] + MARGIN))


def _heading(picture: Any, name: str, frame: _Frame, column: int) -> None:
    """Write the name of a column upwards."""
    from PIL import Image, ImageDraw

    font = _font(24)
    label = Image.new("RGB", (int(font.getlength(name)) + 2, 32), rgb(SURFACE))
    ImageDraw.Draw(label).text((0, 16), name, font=font, fill=rgb(TEXT), anchor="lm")
    turned = label.rotate(90, expand=True)
    left, top, right, _ = frame.cell(0, column)
    place = ((left + right - turned.width) // 2, top - 14 - turned.height)
    picture.paste(turned, place)


def _cell(
    draw: Any, box: tuple[int, int, int, int], found: CorrelationStudy, i: int, j: int
) -> None:
    left, top, right, bottom = box
    middle = (left + right) // 2
    if i == j:
        draw.text(
            (middle, (top + bottom) // 2), MISSING, font=_font(26), fill=rgb(MUTED), anchor="mm"
        )
        return
    band = found.band_of(i, j)
    draw.rounded_rectangle(box, radius=8, fill=rgb(BACKGROUNDS[band]))
    if band is not Band.INSUFFICIENT:
        text, bold = ratio(float(found.matrix[i, j])).text, band is Band.HIGH
        draw.text((middle, top + 30), text, font=_font(26, bold=bold), fill=rgb(TEXT), anchor="mm")
    draw.text((middle, bottom - 18), WORDS[band], font=_font(18), fill=rgb(TEXT), anchor="mm")


def _shortened(name: str) -> str:
    """Return a name that fits beside the matrix."""
    if _font(24).getlength(name) <= MAX_NAME:
        return name
    while name and _font(24).getlength(f"{name}…") > MAX_NAME:
        name = name[:-1]
    return f"{name}…"


@cache
def _font(size: int, *, bold: bool = False) -> Any:
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(font_path(name)), size, layout_engine=ImageFont.Layout.BASIC)
