"""A local server that speaks the part of Alpaca's documented trading API that we use."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

NOW = "2016-02-01T15:00:00.123456Z"


class Alpaca:
    """What the account there knows; a test may change it at any time."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.positions: dict[str, str] = {}
        self.fills: list[dict[str, Any]] = []
        self.cash = "100000"
        self.fail_with: list[int] = []
        self.drop_answers = 0
        self.requests: list[tuple[str, str]] = []
        # Key and secret to the number of the account they open.
        self.keys = {
            ("key", "secret"): "PA1",
            ("PKTWO", "second secret"): "PA2",
            ("PKNEW", "s3"): "PA2",
        }
        self.used: list[str] = []

    def order(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = {
            "id": str(uuid4()),
            "client_order_id": asked["client_order_id"],
            "created_at": NOW,
            "updated_at": NOW,
            "submitted_at": NOW,
            "asset_class": "us_equity",
            "symbol": asked["symbol"],
            "qty": str(asked["qty"]),
            "filled_qty": "0",
            "order_class": "simple",
            "order_type": "market",
            "type": "market",
            "side": asked["side"],
            "time_in_force": asked["time_in_force"],
            "status": "accepted",
            "extended_hours": False,
        }
        self.orders[made["id"]] = made
        return made

    def fill(self, order: dict[str, Any], *, quantity: str, price: str) -> dict[str, Any]:
        """Execute an order there."""
        made = {
            "activity_type": "FILL",
            "id": f"20160201150000{len(self.fills):03}::{uuid4()}",
            "symbol": order["symbol"],
            "side": order["side"],
            "qty": quantity,
            "cum_qty": quantity,
            "leaves_qty": "0",
            "price": price,
            "transaction_time": NOW,
            "order_id": order["id"],
            "type": "fill",
        }
        self.fills.append(made)
        order["status"], order["filled_qty"] = "filled", quantity
        sign = 1 if order["side"] == "buy" else -1
        held = float(self.positions.get(order["symbol"], "0")) + sign * float(quantity)
        self.positions[order["symbol"]] = f"{held:g}"
        self.cash = f"{float(self.cash) - sign * float(quantity) * float(price):.2f}"
        return made


def handler(alpaca: Alpaca) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = self.asked("GET")
            if self.number is None:
                self.answer({"code": 40110000, "message": "request is not authorized"}, 401)
            elif path == "/v2/account":
                self.answer({**ACCOUNT, "cash": alpaca.cash, "account_number": self.number})
            elif path == "/v2/positions":
                held = {s: q for s, q in alpaca.positions.items() if float(q)}
                self.answer([position(symbol, q) for symbol, q in held.items()])
            elif path == "/v2/orders:by_client_order_id":
                wanted = query["client_order_id"][0]
                found = [o for o in alpaca.orders.values() if o["client_order_id"] == wanted]
                if found:
                    self.answer(found[0])
                else:
                    self.answer({"code": 40410000, "message": "order not found"}, 404)
            elif path == "/v2/account/activities/FILL":
                size = int(query.get("page_size", ["100"])[0])
                ids = [fill["id"] for fill in alpaca.fills]
                first = ids.index(query["page_token"][0]) + 1 if "page_token" in query else 0
                self.answer(alpaca.fills[first : first + size])
            else:
                self.answer({"message": "no such thing"}, 404)

        def do_POST(self) -> None:
            self.asked("POST")
            length = int(self.headers["Content-Length"])
            asked = json.loads(self.rfile.read(length))
            if alpaca.fail_with:
                self.answer({"code": 1, "message": "not now"}, alpaca.fail_with.pop(0))
                return
            made = alpaca.order(asked)
            if alpaca.drop_answers:
                alpaca.drop_answers -= 1
                self.close_connection = True
                return
            self.answer(made)

        def do_DELETE(self) -> None:
            path, _ = self.asked("DELETE")
            order = alpaca.orders.get(path.rsplit("/", 1)[1])
            if order is None or order["status"] == "filled":
                self.answer({"code": 42210000, "message": "order is not cancelable"}, 422)
                return
            order["status"] = "canceled"
            self.send_response(204)
            self.end_headers()

        def asked(self, method: str) -> tuple[str, dict[str, list[str]]]:
            split = urlsplit(self.path)
            alpaca.requests.append((method, split.path))
            pair = (self.headers["APCA-API-KEY-ID"], self.headers["APCA-API-SECRET-KEY"])
            self.number = alpaca.keys.get(pair)
            alpaca.used.append(pair[0])
            return split.path, parse_qs(split.query)

        def answer(self, body: Any, status: int = 200) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    return Handler


@contextmanager
def alpaca_server():
    """Run the server; gives its state and its address."""
    alpaca = Alpaca()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(alpaca))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield alpaca, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def position(symbol: str, quantity: str) -> dict[str, Any]:
    return {
        "asset_id": str(uuid4()),
        "symbol": symbol,
        "exchange": "NYSE",
        "asset_class": "us_equity",
        "avg_entry_price": "100",
        "qty": quantity,
        "side": "long" if float(quantity) > 0 else "short",
        "cost_basis": "100",
    }


ACCOUNT = {
    "id": str(uuid4()),
    "account_number": "PA1",
    "status": "ACTIVE",
    "currency": "USD",
    "cash": "100000",
    "pattern_day_trader": False,
    "trading_blocked": False,
    "transfers_blocked": False,
    "account_blocked": False,
    "created_at": NOW,
    "trade_suspended_by_user": False,
    "multiplier": "1",
    "shorting_enabled": True,
    "equity": "100000",
    "last_equity": "100000",
}
