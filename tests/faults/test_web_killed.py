"""Web servers killed at random points lose no fill that is sent and no alert on an open page."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from alphastrat.core.live import heads
from monitoring.models import Alert
from portfolio.models import Account, Fill
from tests.browser.processes import WebServer, environment
from tests.factories import make_token, make_user, signed_in
from tests.faults.staging import Processes, wait_until
from tests.portfolio.trading_builders import START, identity_gap, make_account
from tests.strategies.builders import make_market

pytestmark = [pytest.mark.faults, pytest.mark.servers, pytest.mark.django_db(transaction=True)]

N_KILLS, N_ALERTS, N_FILLS = 4, 40, 120
PAUSE_SECONDS = 0.3
BATCH = 10
CALLS = {"API_CALLS_PER_MINUTE": "100000"}


class ReturningPage(threading.Thread):
    """A page that comes back after each loss and asks for what followed the last alert."""

    def __init__(self, web: WebServer, session: str, since: int) -> None:
        super().__init__(daemon=True)
        self.arrived: list[str] = []
        self.n_connections = 0
        self._url = web.origin.replace("http", "ws") + "/ws/live/"
        self._headers = {"Cookie": f"sessionid={session}", "Origin": web.origin}
        self._since = since
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            with suppress(WebSocketException, OSError, EOFError):
                self._listen()
            time.sleep(0.1)

    def _listen(self) -> None:
        with connect(self._url, additional_headers=self._headers, open_timeout=5) as socket:
            self.n_connections += 1
            topic = {"n": "alerts", "since": self._since}
            socket.send(json.dumps({"t": "hello", "v": 1, "build": "", "topics": [topic]}))
            for text in socket:
                frame = json.loads(text)
                if frame["t"] == "evt" and frame["seq"] > self._since:
                    self._since = frame["seq"]
                    if frame["kind"] == "alert":
                        self.arrived.append(frame["d"]["title"])


class Executions(threading.Thread):
    """A program that sends its executions in batches, again and again until each is accepted."""

    def __init__(self, web: WebServer, account: Account, secret: str) -> None:
        super().__init__(daemon=True)
        self.counts: Counter[str] = Counter()
        self._url = f"{web.origin}/api/v1/strategies/{account.strategy_id}/fills"
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def run(self) -> None:
        for first in range(0, N_FILLS, BATCH):
            body = json.dumps({"fills": [_execution(n) for n in range(first, first + BATCH)]})
            while not self._is_accepted(body.encode()):
                self.counts["unanswered"] += 1
                time.sleep(0.2)
            time.sleep(PAUSE_SECONDS)

    def _is_accepted(self, body: bytes) -> bool:
        request = urllib.request.Request(self._url, body, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError:
            raise
        except (OSError, ValueError):
            return False
        self.counts.update(row["status"] for row in said["rows"])
        return True


def _execution(number: int) -> dict[str, str]:
    return {
        "execution_id": f"e{number:04}",
        "symbol": "AAPL",
        "side": "sell" if number % 3 == 2 else "buy",
        "quantity": str(1 + number % 7),
        "price": f"{100 + number / 10:.2f}",
        "commission": "0.35",
        "filled_at": (START + timedelta(days=10, minutes=number)).isoformat(),
    }


def test_a_web_server_killed_at_random_points_loses_no_fill_and_no_alert(capsys):
    make_market()
    alice = make_user()
    account = make_account(alice)
    secret = make_token(alice)[1]
    session = signed_in(alice).cookies["sessionid"].value
    web = WebServer({**environment(dict(connection.settings_dict)), **CALLS})
    web.start()
    page = ReturningPage(web, session, heads(f"alerts:u{alice.pk}")[f"alerts:u{alice.pk}"])
    sender = Executions(web, account, secret)
    try:
        with Processes() as processes:
            page.start()
            sender.start()
            arguments = [str(alice.pk), str(N_ALERTS), str(PAUSE_SECONDS)]
            processes.python("-m", "tests.faults.raise_alerts", *arguments)
            for _ in range(N_KILLS):
                time.sleep(random.uniform(0.2, 1.5))
                web.kill()
                web.start()
            wait_until(lambda: len(page.arrived) >= N_ALERTS, seconds=60, what="alerts arrive")
            sender.join(60)
            assert not sender.is_alive()
    finally:
        page.is_over.set()
        web.stop()
    assert page.arrived == [f"Alert {number}" for number in range(N_ALERTS)]
    assert Alert.objects.count() == N_ALERTS
    sent = Fill.objects.filter(account=account).values_list("execution_id", flat=True)
    assert sorted(sent) == [f"e{number:04}" for number in range(N_FILLS)]
    assert identity_gap(account) == 0
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{N_KILLS} web servers killed: {N_FILLS} fills recorded once, "
            f"{sender.counts['unanswered']} tries without answer, {sender.counts['known']} fills "
            f"known already, identity holds; {N_ALERTS} alerts on the open page, each once and in "
            f"order, over {page.n_connections} connections"
        )
