"""What apps above know of signals and strategies: columns register here, so imports point down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.forms import Field

from alphastrat.core.tables import Column


class TableAddition:
    """Columns of a table, how they are read, and how rows are chosen by them."""

    columns: tuple[Column, ...] = ()

    def fields(self) -> dict[str, Field]:
        """Return fields of the table's filter, each under the name of what it compares."""
        return {}

    def annotate(self, rows: Any) -> Any:
        """Return the rows with what the columns read from the table's own query."""
        return rows

    def complete(self, rows: Sequence[Any]) -> None:
        """Give the shown rows what the columns read besides, in one query for all of them."""


class Additions:
    """The columns that apps above add to one table."""

    def __init__(self) -> None:
        self._kept: list[TableAddition] = []

    def register(self, addition: TableAddition) -> None:
        self._kept.append(addition)

    def columns_after(self, key: str, own: Sequence[Column]) -> tuple[Column, ...]:
        """Return the table's own columns with the added ones after the one called `key`."""
        place = 1 + next(i for i, column in enumerate(own) if column.key == key)
        return (*own[:place], *self.columns(), *own[place:])

    def columns(self) -> tuple[Column, ...]:
        """Return the added columns."""
        return tuple(column for addition in self._kept for column in addition.columns)

    def exports(self) -> tuple[Column, ...]:
        """Return the added columns as an export names them, without pictures."""
        return tuple(
            Column(column.key, column.key) for column in self.columns() if column.format != "html"
        )

    def fields(self) -> dict[str, Field]:
        """Return the added fields of the table's filter."""
        return {name: field for addition in self._kept for name, field in addition.fields().items()}

    def annotated(self, rows: Any) -> Any:
        """Return the rows with everything that the added columns read from the same query."""
        for addition in self._kept:
            rows = addition.annotate(rows)
        return rows

    def complete(self, rows: Sequence[Any]) -> None:
        """Give the shown rows what the added columns read besides."""
        for addition in self._kept:
            addition.complete(rows)


OF_SIGNALS = Additions()
OF_STRATEGIES = Additions()
