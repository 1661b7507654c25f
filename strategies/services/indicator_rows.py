"""Rows of the indicator cache in COPY's binary form.

PostgreSQL's binary form is big-endian: a row is a field count, then the length and content of
each field; an array has a header, then the length and content of each element.
"""

from __future__ import annotations

import json as json_text
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

from alphastrat.core.jsonable import jsonable
from alphastrat.quant.types import FloatArray

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_MICROSECONDS = 946_684_800_000_000
_VARCHAR, _FLOAT8, _FLOAT8_ARRAY = 1043, 701, 1022
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">f8")])
_ARRAY_HEADER = struct.Struct(">iiIii")
_JSONB_VERSION = b"\x01"
_CHUNK = 1 << 20


def row(*fields: bytes) -> bytes:
    parts = [struct.pack(">h", len(fields))]
    for content in fields:
        parts += (struct.pack(">i", len(content)), content)
    return b"".join(parts)


def whole(number: int) -> bytes:
    return struct.pack(">q", number)


def time(at: datetime | pd.Timestamp) -> bytes:
    micros = int(pd.Timestamp(at).as_unit("us").asm8.view("i8"))
    return struct.pack(">q", micros - _EPOCH_MICROSECONDS)


def json(value: Any) -> bytes:
    """Undefined becomes null."""
    return _JSONB_VERSION + json_text.dumps(jsonable(value), allow_nan=False).encode()


def texts(values: Sequence[str]) -> bytes:
    parts = [_array_header(len(values), _VARCHAR)]
    for value in values:
        parts += (struct.pack(">i", len(value)), value.encode("ascii"))
    return b"".join(parts)


def floats(values: FloatArray) -> bytes:
    """Encode an array of any shape, row after row."""
    elements = np.empty(values.size, _ELEMENT)
    elements["size"] = 8
    elements["value"] = values.ravel()
    return _array_header(values.size, _FLOAT8) + elements.tobytes()


def copy(cursor: Any, statements: str, rows: Iterable[bytes]) -> None:
    """Run `statements`, of which the last is a binary COPY, and give it the rows."""
    *before, statement = statements.split(";")
    for setting_up in before:
        cursor.execute(setting_up)
    waiting = bytearray(_HEADER)
    with cursor.copy(statement) as stream:
        for one in rows:
            waiting += one
            if len(waiting) > _CHUNK:
                stream.write(bytes(waiting))
                waiting.clear()
        stream.write(bytes(waiting) + _TRAILER)


class _NumpyLoader(Loader):
    """Reads float8[] without making a Python number of every element."""

    format = Format.BINARY

    def load(self, data: Buffer) -> FloatArray:
        raw = memoryview(data)
        if _is_empty(raw):
            return np.empty(0)
        elements = np.frombuffer(raw, _ELEMENT, offset=_ARRAY_HEADER.size)
        return elements["value"].astype(np.float64)


def read_arrays_as_numpy(cursor: Cursor[Any]) -> None:
    cursor.adapters.register_loader(_FLOAT8_ARRAY, _NumpyLoader)


def _is_empty(raw: memoryview) -> bool:
    return struct.unpack_from(">i", raw)[0] == 0


def _array_header(length: int, element: int) -> bytes:
    if length == 0:
        return struct.pack(">iiI", 0, 0, element)
    return _ARRAY_HEADER.pack(1, 0, element, length, 1)
