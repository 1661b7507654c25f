"""Files of fills as brokers and tools write them, read into rows or reasons why not."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from alphastrat.core.errors import InvalidInput
from portfolio.models import FillSource
from portfolio.services.fill_checks import FillIn

MAX_BYTES = 20 * 2**20
MAX_ROWS = 100_000
# Flex queries give times without zone, in the zone of the account; nearly all are this one.
FLEX_ZONE = "America/New_York"
_CSV_NEEDED = ("symbol", "side", "quantity", "price", "filled_at")
_SIDES = {
    "buy": "buy",
    "b": "buy",
    "bought": "buy",
    "sell": "sell",
    "s": "sell",
    "sold": "sell",
    "sell_short": "sell",
    "sellshort": "sell",
    "buy_to_cover": "buy",
}
_SQLITE = b"SQLite format 3\x00"
_FREQTRADE_ORDERS = """
    SELECT t.id AS trade_id, t.pair, t.fee_open, t.fee_close, t.is_short, o.order_id,
        o.ft_order_side, o.side, coalesce(o.filled, o.amount) AS filled,
        coalesce(o.average, o.price) AS price, o.order_filled_date AS filled_at
    FROM orders o JOIN trades t ON t.id = o.ft_trade_id
    WHERE o.status = 'closed' AND coalesce(o.filled, 0) > 0 ORDER BY o.order_filled_date
"""


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """One row of a file: the fill it holds, or why it cannot be read."""

    number: int
    fill: FillIn | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file's kind and rows."""

    source: str
    rows: list[ParsedRow]

    @property
    def fills(self) -> list[FillIn]:
        return [row.fill for row in self.rows if row.fill is not None]


def parse_fills(content: bytes, *, file_name: str, zone: str = FLEX_ZONE) -> ParsedFile:
    """Read a file of fills, whatever wrote it.

    `zone` is that of times without one in a Flex query. Raises InvalidInput for a file that is
    none of the known ones, or too large.
    """
    if len(content) > MAX_BYTES:
        raise _refused(f"The file is larger than {MAX_BYTES // 2**20} MB; send a shorter period.")
    source, read = _kind(content, file_name)
    try:
        rows = list(read(content, zone))
    except (ValueError, KeyError, TypeError, sqlite3.Error, csv.Error) as error:
        raise _refused(f"The {FillSource(source).label} file cannot be read: {error}.") from None
    if len(rows) > MAX_ROWS:
        raise _refused(f"The file has {len(rows):,} rows; at most {MAX_ROWS:,} at once.")
    if not rows:
        raise _refused(f"There are no fills in this {FillSource(source).label} file.")
    return ParsedFile(source, rows)


Reader = Callable[[bytes, str], Iterable[ParsedRow]]


def _kind(content: bytes, file_name: str) -> tuple[str, Reader]:
    start = content[:4096].lstrip(b"\xef\xbb\xbf \r\n\t")
    if content.startswith(_SQLITE):
        return FillSource.FREQTRADE, _freqtrade_sqlite
    if start.startswith(b"<") and b"Flex" in start:
        return FillSource.IBKR, _ibkr
    if start.startswith((b"[", b"{")):
        document = _json(content)
        if isinstance(document, Mapping) and "trades" in document:
            return FillSource.FREQTRADE, _freqtrade_json
        first = document[0] if isinstance(document, list) and document else {}
        if isinstance(first, Mapping) and "activity_type" in first:
            return FillSource.ALPACA, _alpaca
        if isinstance(first, Mapping) and ("pair" in first or "trade_id" in first):
            return FillSource.FREQTRADE, _freqtrade_json
        raise _refused("The JSON is neither Alpaca activities nor freqtrade trades.")
    if b"," in start or b";" in start or b"\t" in start:
        return FillSource.CSV, _csv
    raise _refused(f"{file_name} is no CSV, Alpaca JSON, IBKR Flex XML or freqtrade file.")


def _refused(message: str) -> InvalidInput:
    return InvalidInput(message, fields={"file": message})


def _json(content: bytes) -> Any:
    try:
        return json.loads(content, parse_float=Decimal)
    except ValueError as error:
        raise _refused(f"The JSON cannot be read: {error}.") from None


def _row(number: int, build: Callable[[], FillIn]) -> ParsedRow:
    try:
        return ParsedRow(number, build())
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        return ParsedRow(number, None, f"The row cannot be read: {reason}.")


def _csv(content: bytes, _zone: str) -> Iterator[ParsedRow]:
    text = content.decode("utf-8-sig")
    dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t")
    reader = csv.DictReader(io.StringIO(text), dialect=dialect)
    names = [str(name).strip().lower() for name in reader.fieldnames or ()]
    missing = [name for name in _CSV_NEEDED if name not in names]
    if missing:
        raise ValueError(f"columns {', '.join(missing)} are missing")
    seen: dict[str, int] = {}
    for number, raw in enumerate(reader, start=2):
        values = {str(k).strip().lower(): (v or "").strip() for k, v in raw.items() if k}
        yield _row(number, lambda values=values: _of_csv(values, seen))  # type: ignore[misc]


def _of_csv(values: Mapping[str, str], seen: dict[str, int]) -> FillIn:
    return FillIn(
        symbol=values["symbol"],
        side=_side(values["side"]),
        quantity=_number(values["quantity"]),
        price=_number(values["price"]),
        commission=_number(values.get("commission") or "0"),
        filled_at=_time(values["filled_at"]),
        execution_id=values.get("execution_id") or _digest(values, seen),
        corrects=values.get("corrects", ""),
        is_cancelled=values.get("is_cancelled", "").lower() in {"1", "true", "yes"},
        client_order_id=values.get("client_order_id", ""),
    )


def _digest(values: Mapping[str, str], seen: dict[str, int]) -> str:
    """Return an id of a row without one; equal rows of one file are told apart by their count."""
    text = "|".join(values.get(name, "") for name in (*_CSV_NEEDED, "commission"))
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    seen[key] = seen.get(key, 0) + 1
    return f"row-{key}-{seen[key]}"


def _alpaca(content: bytes, _zone: str) -> Iterator[ParsedRow]:
    for number, raw in enumerate(_json(content), start=1):
        if raw.get("activity_type") == "FILL":
            yield _row(number, lambda raw=raw: of_alpaca(raw))  # type: ignore[misc]


def of_alpaca(raw: Mapping[str, Any]) -> FillIn:
    """Return the fill of an Alpaca trade activity."""
    return FillIn(
        symbol=str(raw["symbol"]),
        side=_side(str(raw["side"])),
        quantity=_number(raw["qty"]),
        price=_number(raw["price"]),
        commission=Decimal(0),
        filled_at=_time(str(raw["transaction_time"])),
        execution_id=str(raw["id"]),
        client_order_id=str(raw.get("client_order_id", "")),
    )


def _ibkr(content: bytes, zone: str) -> Iterator[ParsedRow]:
    from ibflex import parser
    from ibflex.parser import FlexParserError

    try:
        response = parser.parse(content)
    except (FlexParserError, AssertionError, SyntaxError) as error:
        # The library asserts what it expects; XML that is none is a SyntaxError.
        raise ValueError(str(error) or "it is no Flex query response") from error
    number = 0
    for statement in response.FlexStatements:
        for trade in statement.Trades or ():
            if (trade.levelOfDetail or "EXECUTION") != "EXECUTION":
                continue
            number += 1
            yield _row(number, lambda trade=trade: _of_flex(trade, zone))  # type: ignore[misc]


def _of_flex(trade: Any, zone: str) -> FillIn:
    if trade.dateTime is None or trade.quantity is None or trade.tradePrice is None:
        raise ValueError("it has no time, quantity or price; add them to the Flex query")
    key = trade.ibExecID or trade.tradeID or trade.transactionID
    if not key:
        raise ValueError("it has no IB execution id; add it to the Flex query")
    return FillIn(
        symbol=str(trade.symbol),
        side="buy" if trade.quantity > 0 else "sell",
        quantity=abs(Decimal(trade.quantity)),
        price=Decimal(trade.tradePrice),
        # Flex gives what is paid as a negative amount.
        commission=-Decimal(trade.ibCommission or 0),
        filled_at=trade.dateTime.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC),
        execution_id=str(key),
    )


def _freqtrade_json(content: bytes, _zone: str) -> Iterator[ParsedRow]:
    document = _json(content)
    trades = document["trades"] if isinstance(document, Mapping) else document
    number = 0
    for trade in trades:
        for leg in _legs(trade):
            number += 1
            yield _row(number, lambda leg=leg, trade=trade: _of_leg(trade, leg))  # type: ignore[misc]


def _legs(trade: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the filled orders of a trade; entry and exit where the export has no orders."""
    is_short = bool(trade.get("is_short"))
    filled = [order for order in trade.get("orders") or () if order.get("order_filled_timestamp")]
    for place, order in enumerate(filled):
        enters = bool(order.get("ft_is_entry"))
        yield {
            "id": order.get("order_id") or f"{_trade_key(trade)}-{place}",
            "buys": enters != is_short,
            "enters": enters,
            "amount": order.get("filled") or order["amount"],
            "price": order.get("average") or order.get("safe_price"),
            "at": order["order_filled_timestamp"],
        }
    if filled:
        return
    opened = {"id": f"{_trade_key(trade)}-entry", "buys": not is_short, "enters": True}
    yield opened | {
        "amount": trade["amount"],
        "price": trade["open_rate"],
        "at": trade.get("open_timestamp") or trade["open_date"],
    }
    if trade.get("close_rate"):
        closed = {"id": f"{_trade_key(trade)}-exit", "buys": is_short, "enters": False}
        yield closed | {
            "amount": trade["amount"],
            "price": trade["close_rate"],
            "at": trade.get("close_timestamp") or trade["close_date"],
        }


def _trade_key(trade: Mapping[str, Any]) -> str:
    opened = trade.get("open_timestamp") or trade.get("open_date")
    return str(trade.get("trade_id") or f"{trade['pair']}-{opened}")


def _of_leg(trade: Mapping[str, Any], leg: Mapping[str, Any]) -> FillIn:
    quantity, price = _number(leg["amount"]), _number(leg["price"])
    fee = _number(trade.get("fee_open" if leg["enters"] else "fee_close") or 0)
    return FillIn(
        symbol=str(trade["pair"]),
        side="buy" if leg["buys"] else "sell",
        quantity=quantity,
        price=price,
        commission=quantity * price * fee,
        filled_at=_time(leg["at"]),
        execution_id=str(leg["id"]),
    )


def _freqtrade_sqlite(content: bytes, _zone: str) -> Iterator[ParsedRow]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trades.sqlite"
        path.write_bytes(content)
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        try:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(_FREQTRADE_ORDERS).fetchall()
        finally:
            connection.close()
    for number, row in enumerate(rows, start=1):
        yield _row(number, lambda row=row: _of_order(row))  # type: ignore[misc]


def _of_order(row: sqlite3.Row) -> FillIn:
    buys = (row["side"] or row["ft_order_side"]) == "buy"
    enters = buys != bool(row["is_short"])
    leg = {
        "id": row["order_id"],
        "buys": buys,
        "enters": enters,
        "amount": str(row["filled"]),
        "price": str(row["price"]),
        "at": str(row["filled_at"]),
    }
    return _of_leg({key: row[key] for key in ("pair", "fee_open", "fee_close")}, leg)


def _side(text: str) -> str:
    side = _SIDES.get(text.strip().lower().replace(" ", "_"))
    if side is None:
        raise ValueError(f"{text!r} is neither buy nor sell")
    return side


def _number(value: Any) -> Decimal:
    text = str(value).strip().replace("\u00a0", "")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None


def _time(value: Any) -> datetime:
    """Return a time with its zone; milliseconds are UTC, and so are freqtrade's dates."""
    if isinstance(value, int | Decimal):
        return datetime.fromtimestamp(int(value) / 1000, UTC)
    text = str(value).strip()
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2026-03-02T14:30:00Z") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
