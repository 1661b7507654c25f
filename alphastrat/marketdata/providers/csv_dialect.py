"""How a CSV file marks its values: delimiter, decimals, thousands, currency."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

_DECIMAL_COMMA = re.compile(rb"(?<!\d)\d{1,3}(?:\.\d{3})*,\d")
_SCALES = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The marks of one file, the same from its first line to its last."""

    delimiter: str
    decimal: str
    thousands: str

    def numbers(self, values: pd.Series) -> pd.Series:
        """Return values as numbers; NaN where a text is none."""
        if pd.api.types.is_numeric_dtype(values):
            return values
        texts = values.astype("string").str.strip().str.upper()
        scales = texts.str[-1].map(_SCALES)
        texts = texts.str.replace(r"[$€£¥\s]|(?<=\d)[KMB]$", "", regex=True)
        texts = texts.str.replace(self.thousands, "", regex=False)
        texts = texts.str.replace(self.decimal, ".", regex=False)
        numbers: pd.Series = pd.to_numeric(texts, errors="coerce") * scales.fillna(1.0)
        return numbers


def dialect_of(head: bytes) -> Dialect:
    """Tell the dialect by the first lines of a file.

    Only a file that is not delimited by commas can have decimal commas.
    """
    lines = head.splitlines()
    delimiter = max(",;\t|", key=lambda mark: lines[0].count(mark.encode()))
    cells = [cell for line in lines[1:] for cell in line.split(delimiter.encode())]
    has_commas = delimiter != "," and any(_DECIMAL_COMMA.fullmatch(_bare(cell)) for cell in cells)
    if has_commas and not any(re.fullmatch(rb"\d+,\d{3}\.\d+", _bare(cell)) for cell in cells):
        return Dialect(delimiter, decimal=",", thousands=".")
    return Dialect(delimiter, decimal=".", thousands=",")


def _bare(cell: bytes) -> bytes:
    """Return a price without quotes and with the tail of its decimals cut off."""
    stripped = cell.strip().strip(b'"')
    return re.sub(rb"(,\d)\d*$", rb"\1", stripped)
