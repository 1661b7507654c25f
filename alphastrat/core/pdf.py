"""Reports as PDF: headline numbers, vector charts and tables, in the colours of the pages.

Text is embedded with DejaVu Sans, so that a minus sign and any European name read as on the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from django.http import HttpResponse

from alphastrat.core.formatting import MISSING, Formatted, instant
from alphastrat.core.print_style import font_path, rgb
from alphastrat.core.thinning import extremes

# All lengths are millimetres on A4, all sizes points.
MARGIN = 16.0
WIDTH = 210.0 - 2 * MARGIN
GAP = 3.0
CARDS_PER_ROW = 4
CARD_HEIGHT = 19.0
ROW_HEIGHT = 5.4
TABLE_SIZE = 8.0
PADDING = 1.2
# A longer name takes more lines.
MAX_NAME = 62.0
FACT_NAME = 46.0
AXIS_WIDTH = 21.0
MAX_POINTS = 600
FONT = "DejaVu"
ROLES = {
    "live": "colors.financial.series.live",
    "backtest": "colors.financial.series.backtest",
    "limit": "colors.semantic.text.muted",
    "equity": "colors.financial.palette.1",
    "benchmark": "colors.financial.series.benchmark",
    "pnl": "colors.financial.palette.2",
    "drawdown": "colors.semantic.loss",
}
DIRECTIONS = {"up": "colors.semantic.profit", "down": "colors.semantic.loss"}
TEXT, MUTED = "colors.semantic.text.primary", "colors.semantic.text.muted"
RULE, SHADE = "colors.semantic.border.subtle", "colors.semantic.canvas"
ARROWS = {"up": "▲\u00a0", "down": "▼\u00a0"}


@dataclass(frozen=True, slots=True)
class Card:
    """One headline number, and what it is compared with."""

    label: str
    shown: Formatted
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve over the days of a chart; NaN where nothing is known."""

    name: str
    role: str
    values: Sequence[float]
    fill: bool = False


class Document:
    """A report that grows downwards; pages break where something does not fit."""

    def __init__(self, title: str, subtitle: str, *, at: datetime) -> None:
        self._pdf = _blank(title, at=at)
        self._pdf.add_page()
        self._text(title, size=18, bold=True, height=9)
        self._text(subtitle, size=9, colour=MUTED, height=5)
        self._pdf.ln(GAP)

    def output(self) -> bytes:
        """Return the file."""
        return bytes(self._pdf.output())

    def heading(self, text: str, note: str = "", *, room: float = 30.0) -> None:
        """Begin a section, on a new page where less than `room` is left for it."""
        if self._pdf.will_page_break(room):
            self._pdf.add_page()
        self._pdf.ln(GAP)
        self._text(text, size=12, bold=True, height=6.5)
        if note:
            self._text(note, size=8, colour=MUTED, height=4.5)
        self._pdf.ln(1)

    def paragraph(self, text: str) -> None:
        """Write text under what stands above."""
        self._text(text, size=8, colour=MUTED, height=4.2)

    def cards(self, cards: Sequence[Card]) -> None:
        """Draw headline numbers side by side."""
        width = (WIDTH - GAP * (CARDS_PER_ROW - 1)) / CARDS_PER_ROW
        for start in range(0, len(cards), CARDS_PER_ROW):
            if self._pdf.will_page_break(CARD_HEIGHT):
                self._pdf.add_page()
            top = self._pdf.get_y()
            for place, card in enumerate(cards[start : start + CARDS_PER_ROW]):
                self._card(card, MARGIN + place * (width + GAP), top, width)
            self._pdf.set_xy(MARGIN, top + CARD_HEIGHT + GAP)

    def chart(
        self,
        days: Sequence[date],
        lines: Sequence[Line],
        *,
        height: float,
        ticks: Any,
        has_dates: bool = True,
    ) -> None:
        """Draw curves over days as vectors; `ticks` formats the values of the axis."""
        footer = 6.0 if has_dates else 1.5
        if self._pdf.will_page_break(height + footer):
            self._pdf.add_page()
        plot = _Plot.fit(days, lines, top=self._pdf.get_y() + 5, height=height - 5)
        self._legend(lines)
        self._grid(plot, ticks)
        if has_dates:
            self._dates(plot, days)
        for line in lines:
            self._curve(plot, line)
        self._pdf.set_xy(MARGIN, plot.top + plot.height + footer)

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str | Formatted]],
        *,
        has_total: bool = False,
    ) -> None:
        """Draw a table whose headings repeat on every page; numbers stand to the right."""
        from fpdf.fonts import FontFace

        texts = [headings, *([_cell_text(cell) for cell in row] for row in rows)]
        size, widths = self._fitting(texts)
        self._style(size)
        self._pdf.set_draw_color(*rgb(RULE))
        align = tuple("RIGHT" if place else "LEFT" for place in range(len(headings)))
        head = FontFace(emphasis="BOLD", color=rgb(MUTED), fill_color=rgb(SHADE))
        with self._pdf.table(
            col_widths=widths,
            text_align=align,
            headings_style=head,
            line_height=ROW_HEIGHT,
            borders_layout="HORIZONTAL_LINES",
            padding=(0, PADDING, 0, PADDING),
        ) as table:
            table.row(headings)
            for number, row in enumerate(rows, 1):
                is_bold = has_total and number == len(rows)
                _fill(table.row(), row, is_bold=is_bold)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """List names with words of any length beside them."""
        from fpdf.fonts import FontFace

        self._style(TABLE_SIZE)
        self._pdf.set_draw_color(*rgb(RULE))
        muted = FontFace(color=rgb(MUTED))
        with self._pdf.table(
            col_widths=(FACT_NAME, WIDTH - FACT_NAME),
            text_align="LEFT",
            v_align="TOP",
            first_row_as_headings=False,
            line_height=ROW_HEIGHT * 0.8,
            borders_layout="HORIZONTAL_LINES",
            padding=(PADDING / 2, PADDING, PADDING / 2, PADDING),
        ) as table:
            for name, value in rows:
                row = table.row()
                row.cell(name, style=muted)
                row.cell(value or MISSING)

    def _fitting(self, texts: Sequence[Sequence[str]]) -> tuple[float, tuple[float, ...]]:
        """Return the size and widths of columns in which no number breaks."""
        self._style(TABLE_SIZE, bold=True)
        measure = self._pdf.get_string_width
        needed = [max(map(measure, column)) + 2 * PADDING for column in zip(*texts, strict=True)]
        needed[0] = min(needed[0], MAX_NAME)
        scale = min(1.0, WIDTH / sum(needed))
        room = (WIDTH - scale * sum(needed)) / len(needed)
        return TABLE_SIZE * scale, tuple(scale * one + room for one in needed)

    def _text(
        self,
        text: str,
        *,
        size: float,
        height: float,
        bold: bool = False,
        colour: str = TEXT,
    ) -> None:
        self._style(size, bold=bold, colour=colour)
        self._pdf.multi_cell(WIDTH, height, text, new_x="LMARGIN", new_y="NEXT", align="L")

    def _style(self, size: float, *, bold: bool = False, colour: str = TEXT) -> None:
        self._pdf.set_font(FONT, style="B" if bold else "", size=size)
        self._pdf.set_text_color(*rgb(colour))

    def _card(self, card: Card, left: float, top: float, width: float) -> None:
        pdf = self._pdf
        pdf.set_draw_color(*rgb(RULE))
        pdf.set_line_width(0.25)
        pdf.rect(left, top, width, CARD_HEIGHT, round_corners=True, corner_radius=1.5)
        pdf.set_xy(left + 2, top + 2)
        self._style(7, colour=MUTED)
        pdf.cell(width - 4, 3.5, card.label)
        pdf.set_xy(left + 2, top + 6)
        self._style(12, bold=True, colour=DIRECTIONS.get(card.shown.direction, TEXT))
        pdf.cell(width - 4, 6, _cell_text(card.shown))
        pdf.set_xy(left + 2, top + 12.5)
        self._style(6.5, colour=MUTED)
        pdf.multi_cell(width - 4, 2.9, card.note, align="L", max_line_height=2.9)

    def _legend(self, lines: Sequence[Line]) -> None:
        pdf, left, top = self._pdf, MARGIN + AXIS_WIDTH, self._pdf.get_y()
        self._style(7, colour=MUTED)
        for line in lines:
            pdf.set_draw_color(*rgb(ROLES[line.role]))
            pdf.set_line_width(0.6)
            pdf.line(left, top + 2, left + 5, top + 2)
            pdf.set_xy(left + 6, top)
            width = pdf.get_string_width(line.name) + 2
            pdf.cell(width, 4, line.name)
            left += 6 + width + 4

    def _grid(self, plot: _Plot, ticks: Any) -> None:
        pdf = self._pdf
        self._style(6.5, colour=MUTED)
        pdf.set_draw_color(*rgb(RULE))
        pdf.set_line_width(0.15)
        for value in nice_ticks(plot.low, plot.high, 4 if plot.height > 20 else 2):
            height = plot.y(value)
            pdf.line(plot.left, height, plot.left + plot.width, height)
            pdf.set_xy(MARGIN, height - 1.5)
            pdf.cell(AXIS_WIDTH - 2, 3, str(ticks(value)), align="R")

    def _dates(self, plot: _Plot, days: Sequence[date]) -> None:
        self._style(6.5, colour=MUTED)
        for day in month_ticks(days):
            self._pdf.set_xy(plot.x(day.toordinal()) - 10, plot.top + plot.height + 1)
            self._pdf.cell(20, 3, f"{day:%b %Y}", align="C")

    def _curve(self, plot: _Plot, line: Line) -> None:
        values = np.asarray(line.values, float)
        keep = np.flatnonzero(np.isfinite(values))
        if len(keep) > MAX_POINTS:
            keep = keep[extremes(values[keep], MAX_POINTS)]
        if len(keep) < 2:
            return
        points = [(plot.x(plot.ordinals[i]), plot.y(float(values[i]))) for i in keep.tolist()]
        colour = rgb(ROLES[line.role])
        pdf = self._pdf
        if line.fill:
            ends = [(points[-1][0], plot.y(0.0)), (points[0][0], plot.y(0.0))]
            with pdf.local_context(fill_opacity=0.15):
                pdf.set_fill_color(*colour)
                pdf.polygon([*points, *ends], style="F")
        pdf.set_draw_color(*colour)
        pdf.set_line_width(0.35)
        pdf.polyline(points)


@dataclass(frozen=True, slots=True)
class _Plot:
    """Maps days and values to places on the page."""

    ordinals: list[int]
    low: float
    high: float
    top: float
    height: float
    left: float = MARGIN + AXIS_WIDTH
    width: float = WIDTH - AXIS_WIDTH

    @classmethod
    def fit(
        cls, days: Sequence[date], lines: Sequence[Line], *, top: float, height: float
    ) -> _Plot:
        known = np.concatenate([np.asarray(line.values, float) for line in lines])
        known = known[np.isfinite(known)]
        if any(line.fill for line in lines):
            known = np.append(known, 0.0)
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        pad = (high - low) * 0.04 or max(abs(high), 1.0) * 0.04
        return cls([day.toordinal() for day in days], low - pad, high + pad, top, height)

    def x(self, ordinal: float) -> float:
        span = self.ordinals[-1] - self.ordinals[0] or 1
        return self.left + self.width * (ordinal - self.ordinals[0]) / span

    def y(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / (self.high - self.low)


def pdf_response(content: bytes, *, name: str) -> HttpResponse:
    """Answer a report, to be saved under a name."""
    response = HttpResponse(content, content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{name}.pdf"'
    return response


def nice_ticks(low: float, high: float, n: int) -> list[float]:
    """Return about `n` values between two ends, in steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(n, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((k * power for k in (1, 2, 5, 10)), key=lambda one: abs(one - raw))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [place * step for place in range(first, last + 1)]


def month_ticks(days: Sequence[date], n: int = 6) -> list[date]:
    """Return at most `n` first days of months, evenly, away from the edges."""
    span = days[-1].toordinal() - days[0].toordinal()
    months = dict.fromkeys(day.replace(day=1) for day in days)
    inner = [
        day for day in months if span * 0.04 < day.toordinal() - days[0].toordinal() < span * 0.96
    ]
    return inner[:: -(-len(inner) // n) or 1]


def _fill(row: Any, cells: Sequence[str | Formatted], *, is_bold: bool) -> None:
    from fpdf.fonts import FontFace

    for cell in cells:
        direction = cell.direction if isinstance(cell, Formatted) else ""
        colour = rgb(DIRECTIONS.get(direction, TEXT))
        style = FontFace(emphasis="BOLD" if is_bold else None, color=colour)
        row.cell(_cell_text(cell), style=style)


def _cell_text(cell: str | Formatted) -> str:
    if isinstance(cell, str):
        return cell
    return ARROWS.get(cell.direction, "") + cell.text


def _blank(title: str, *, at: datetime) -> Any:
    from fpdf import FPDF

    class Pages(FPDF):
        """Numbers its pages."""

        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(FONT, size=6.5)
            self.set_text_color(*rgb(MUTED))
            self.cell(WIDTH / 2, 4, f"{title}, made {instant(at)}")
            self.cell(WIDTH / 2, 4, f"{self.page_no()} / {{nb}}", align="R")

    pdf = Pages(format="A4")
    pdf.set_margins(MARGIN, MARGIN, MARGIN)
    pdf.c_margin = 0
    pdf.set_auto_page_break(True, margin=MARGIN)
    pdf.set_title(title)
    pdf.set_lang("en")
    pdf.set_creator("AlphaStrat")
    pdf.set_creation_date(at)
    for style, name in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
        pdf.add_font(FONT, style, font_path(name))
    return pdf
