"""Tables as files: the same rows as on the page, with full precision."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.core.tables import Column, lookup

# Each form, and what a link to it is called.
FORMS = (("csv", "CSV"), ("parquet", "Parquet"), ("json", "JSON"))
# A cell that starts like this is a formula to a spreadsheet.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def table_response(
    rows: Iterable[Any], columns: Sequence[Column], *, name: str, form: str
) -> HttpResponseBase:
    """Return `rows` as csv, parquet or json, to be saved as `name`.

    The columns are those of the table on the page; values keep their full precision. Raises
    InvalidInput for any other form.
    """
    if form == "csv":
        response: HttpResponseBase = StreamingHttpResponse(
            _csv_lines(rows, columns), content_type="text/csv; charset=utf-8"
        )
    elif form == "parquet":
        response = HttpResponse(
            _parquet(rows, columns), content_type="application/vnd.apache.parquet"
        )
    elif form == "json":
        response = StreamingHttpResponse(_json(rows, columns), content_type="application/json")
    else:
        raise InvalidInput(
            f"{form!r} is not an export format.", fields={"format": "Use csv, parquet or json."}
        )
    response["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return response


def _header(column: Column) -> str:
    return column.metric or column.key


def _csv_lines(rows: Iterable[Any], columns: Sequence[Column]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([_header(column) for column in columns])
    for row in rows:
        writer.writerow([_cell(lookup(row, column.key)) for column in columns])
        if buffer.tell() > 2**16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    plain = jsonable(value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{plain}"
    return plain


def _json(rows: Iterable[Any], columns: Sequence[Column]) -> Iterator[str]:
    separator = "["
    for row in rows:
        record = {_header(column): jsonable(lookup(row, column.key)) for column in columns}
        yield separator + json.dumps(record)
        separator = ",\n"
    yield "]" if separator != "[" else "[]"


def _parquet(rows: Iterable[Any], columns: Sequence[Column]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [[_arrow(lookup(row, column.key)) for column in columns] for row in rows]
    arrays = [
        pa.array([record[i] for record in records], from_pandas=True) for i in range(len(columns))
    ]
    table = pa.Table.from_arrays(arrays, names=[_header(column) for column in columns])
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _arrow(value: Any) -> Any:
    """Keep times and numbers as they are; everything else as its JSON form."""
    if value is None or isinstance(value, bool | int | float | str) or hasattr(value, "tzinfo"):
        return value
    return jsonable(value)
