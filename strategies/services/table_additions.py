"""What apps above know of signals and strategies: columns register here, so imports point down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from alphastrat.core.tables import Column


class TableAddition(Protocol):
    """Columns of a table, and the query that reads them."""

    columns: tuple[Column, ...]

    def annotate(self, rows: Any) -> Any: ...


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
        """Return the added columns as an export names them."""
        return tuple(Column(column.key, column.key) for column in self.columns())

    def annotated(self, rows: Any) -> Any:
        """Return the rows with everything that the added columns read."""
        for addition in self._kept:
            rows = addition.annotate(rows)
        return rows


OF_SIGNALS = Additions()
OF_STRATEGIES = Additions()
