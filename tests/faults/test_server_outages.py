"""PostgreSQL restarts while messages are sent; Valkey is away while alerts are raised."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils.timezone import now
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from alphastrat import env
from alphastrat.core.live import heads
from alphastrat.servers.embedded import EmbeddedServers
from monitoring.models import Alert, Notification
from monitoring.services.notifications import queue_for
from tests.browser.processes import WebServer, environment
from tests.factories import make_user, signed_in
from tests.faults.staging import Processes, wait_until
from tests.monitoring.outbox_builders import make_alert, make_event, make_transport
from tests.monitoring.receivers import receiver

pytestmark = [pytest.mark.faults, pytest.mark.servers]

N_MESSAGES = 150
N_RESTARTS = 2
N_ALERTS = 60
PAUSE_SECONDS = 0.3
OUTAGE_SECONDS = 10.0


@contextmanager
def own_server(var: Path, name: str) -> Iterator[EmbeddedServers]:
    """Run a server that may be taken down without hurting other tests."""
    servers = EmbeddedServers(var, [name], durable=False)
    servers.start()
    try:
        yield servers
    finally:
        servers.stop()


@contextmanager
def own_database(servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point Django at an empty database on `servers`, and back."""
    monkeypatch.setenv("DATABASE_URL", servers.urls["postgres"])
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(env.database(servers.var))
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def n_sent() -> int:
    return Notification.objects.filter(status="sent").count()


def test_a_restart_of_postgresql_while_messages_are_sent_loses_none(
    tmp_path, monkeypatch, django_db_blocker, capsys
):
    with (
        own_server(tmp_path, "postgres") as servers,
        django_db_blocker.unblock(),
        own_database(servers, monkeypatch),
        receiver(204, seconds=0.1) as hook,
        Processes() as processes,
    ):
        alice = make_user()
        make_transport(alice, url=hook.origin)
        queue_for([make_event(make_alert(alice)) for _ in range(N_MESSAGES)], at=now())
        sender = processes.manage("send_alerts", "--loop")
        for number in range(1, N_RESTARTS + 1):
            wait_until(
                lambda n=number: len(hook.requests) >= n * N_MESSAGES // 4,
                seconds=60,
                what="messages are being sent",
            )
            connection.close()
            servers.stop()
            time.sleep(1.0)
            servers.start()
        wait_until(lambda: n_sent() == N_MESSAGES, seconds=120, what="everything is accepted")
        assert sender.poll() is None
        keys = set(Notification.objects.values_list("key", flat=True))
    assert set(hook.keys) == keys
    assert hook.n_overlapping == 0
    n_repeated = sum(1 for n in Counter(hook.keys).values() if n > 1)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{N_RESTARTS} restarts of PostgreSQL: {N_MESSAGES} messages, "
            f"{len(hook.keys)} requests, {n_repeated} repeated with the same key, none lost"
        )


class OpenPage(threading.Thread):
    """A page that is left open: notes each alert and when it came."""

    def __init__(self, web: WebServer, session: str, since: int) -> None:
        super().__init__(daemon=True)
        self.arrived: list[tuple[str, int, float]] = []
        self._url = web.origin.replace("http", "ws") + "/ws/live/"
        self._headers = {"Cookie": f"sessionid={session}", "Origin": web.origin}
        self._since = since
        self.is_ready = threading.Event()

    def run(self) -> None:
        with (
            suppress(ConnectionClosed),
            connect(self._url, additional_headers=self._headers) as socket,
        ):
            topic = {"n": "alerts", "since": self._since}
            socket.send(json.dumps({"t": "hello", "v": 1, "build": "", "topics": [topic]}))
            for text in socket:
                frame = json.loads(text)
                if frame["t"] == "welcome":
                    self.is_ready.set()
                if frame["t"] == "evt" and frame["kind"] == "alert":
                    delay = time.time() - frame["ts"]
                    self.arrived.append((frame["d"]["title"], frame["seq"], delay))


@pytest.mark.django_db(transaction=True)
def test_alerts_reach_open_pages_while_valkey_is_away(tmp_path, capsys):
    alice = make_user()
    session = signed_in(alice).cookies["sessionid"].value
    with own_server(tmp_path, "valkey") as servers, receiver() as hook:
        make_transport(alice, url=hook.origin)
        variables = {"REDIS_URL": servers.urls["valkey"]}
        web = WebServer({**environment(dict(connection.settings_dict)), **variables})
        web.start()
        try:
            with Processes(**variables) as processes:
                page = OpenPage(web, session, heads(f"alerts:u{alice.pk}")[f"alerts:u{alice.pk}"])
                page.start()
                assert page.is_ready.wait(20)
                processes.manage("send_alerts", "--loop")
                arguments = [str(alice.pk), str(N_ALERTS), str(PAUSE_SECONDS)]
                processes.python("-m", "tests.faults.raise_alerts", *arguments)
                wait_until(lambda: len(page.arrived) >= 5, seconds=60, what="alerts arrive")
                servers.stop()
                n_before = len(page.arrived)
                time.sleep(OUTAGE_SECONDS)
                wait_until(
                    lambda: len(page.arrived) > n_before,
                    seconds=60,
                    what="alerts arrive without it",
                )
                n_during = len(page.arrived) - n_before
                servers.start()
                wait_until(
                    lambda: len(page.arrived) >= N_ALERTS, seconds=60, what="every alert arrives"
                )
                wait_until(lambda: n_sent() == N_ALERTS, seconds=90, what="every message is sent")
        finally:
            web.stop()
    titles = Counter(title for title, _, _ in page.arrived)
    sequences = [sequence for _, sequence, _ in page.arrived]
    assert sequences == sorted(set(sequences))
    assert titles == {f"Alert {number}": 1 for number in range(N_ALERTS)}
    assert Alert.objects.count() == N_ALERTS
    assert len(set(hook.keys)) == N_ALERTS
    worst = max(delay for _, _, delay in page.arrived)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nValkey away for {OUTAGE_SECONDS:.0f} s: {N_ALERTS} alerts raised, "
            f"{sum(titles.values())} on the open page, each once and in order, {n_during} of them "
            f"during the outage, the slowest after {worst:.1f} s; {N_ALERTS} messages accepted"
        )
