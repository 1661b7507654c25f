"""Tables as data: columns, the sort order asked for, and cells ready to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from alphastrat.core.formatting import FORMATS, MISSING, Formatted, format_value
from alphastrat.core.navigation import address

TEXT_FORMATS = frozenset({"text", "status", "time", "day", "age", "html", "code"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column: where its value is, how it reads, and whether it sorts.

    `key` is an attribute or mapping path (`run.sharpe`), `sort` the name in `?sort=`, `link` the
    path of a URL on the row, `metric` the id of a definition, `live` a template such as
    `strategy:{id}.day` that is filled from the row.
    """

    key: str
    label: str
    format: str = "text"
    sort: str = ""
    link: str = ""
    metric: str = ""
    live: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format not in FORMATS and self.format not in TEXT_FORMATS:
            raise ValueError(f"column {self.key!r} has the unknown format {self.format!r}")

    @property
    def is_number(self) -> bool:
        return self.format in FORMATS


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed cell."""

    column: Column
    value: Any
    formatted: Formatted
    href: str
    live: str


@dataclass(frozen=True, slots=True)
class Heading:
    """One printed column heading; `href` is empty where the column does not sort."""

    column: Column
    href: str
    aria_sort: str


@dataclass(frozen=True, slots=True)
class Order:
    """The sort order of a table: a column and its direction."""

    sort: str
    descending: bool

    @property
    def query_value(self) -> str:
        return f"-{self.sort}" if self.descending else self.sort


def read_order(request: HttpRequest, columns: Sequence[Column], *, default: str) -> Order:
    """Return the order that `?sort=` asks for, or `default` where the column does not sort."""
    known = {column.sort for column in columns if column.sort}
    asked = request.GET.get("sort", default)
    if asked.removeprefix("-") not in known:
        asked = default
    return Order(asked.removeprefix("-"), asked.startswith("-"))


def headings(request: HttpRequest, columns: Sequence[Column], order: Order | None) -> list[Heading]:
    return [_heading(request, column, order) for column in columns]


def cells(row: Any, columns: Sequence[Column]) -> list[Cell]:
    return [_cell(row, column) for column in columns]


def query_url(request: HttpRequest, **changes: str | int | None) -> str:
    """Return this page's query string with `changes`; None removes a name."""
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = str(value)
    return "?" + query.urlencode()


def lookup(row: Any, path: str) -> Any:
    """Follow a dotted path through mappings and attributes; None where it ends early."""
    for name in path.split("."):
        row = row.get(name) if isinstance(row, Mapping) else getattr(row, name, None)
        if row is None:
            return None
    return row() if callable(row) else row


def metric_url(metric: str) -> str:
    """Return the address of a metric's definition, empty while there is no such page."""
    page = address("monitoring:metrics-help")
    return f"{page}#{metric}" if page else ""


def _heading(request: HttpRequest, column: Column, order: Order | None) -> Heading:
    if not column.sort:
        return Heading(column, "", "")
    current = order is not None and order.sort == column.sort
    descending = column.is_number if not current else not (order and order.descending)
    target = f"-{column.sort}" if descending else column.sort
    state = ("descending" if order and order.descending else "ascending") if current else "none"
    return Heading(column, query_url(request, sort=target, page=None), state)


def _cell(row: Any, column: Column) -> Cell:
    value = lookup(row, column.key)
    href = str(lookup(row, column.link) or "") if column.link else ""
    live = column.live.format_map(_RowFields(row)) if column.live else ""
    if column.format in FORMATS:
        formatted = format_value(column.format, value, **column.options)
    else:
        formatted = Formatted(None, MISSING if value is None or value == "" else str(value))
    return Cell(column, value, formatted, href, live)


class _RowFields(dict[str, Any]):
    """Gives `str.format_map` the fields of a row."""

    def __init__(self, row: Any) -> None:
        super().__init__()
        self._row = row

    def __missing__(self, name: str) -> Any:
        return lookup(self._row, name)
