from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, transaction

from alphastrat.core.notify import Listener, Wake, notify

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener("bars", "fills", sweep_seconds=5)
    assert one.wait().is_sweep  # connecting counts as one: what came before was missed
    yield one
    one.close()


def test_a_committed_notification_wakes_the_listener_with_its_payload(listener: Listener) -> None:
    notify("bars", "XYZ")
    assert listener.wait() == Wake({"bars": frozenset({"XYZ"})})


def test_a_rolled_back_notification_is_never_heard(listener: Listener) -> None:
    with transaction.atomic():
        notify("bars", "lost")
        transaction.set_rollback(True)
    assert listener.wait(timeout=0.05) == Wake(is_sweep=True)


def test_many_notifications_become_one_wake(listener: Listener) -> None:
    with transaction.atomic():
        for number in range(200):
            notify("bars", str(number % 3))
        notify("fills", "f")
    wake = listener.wait()
    assert wake.payloads == {"bars": frozenset("012"), "fills": frozenset("f")}
    assert listener.wait(timeout=0.02).is_sweep


def test_a_payload_that_postgresql_refuses_is_left_out(listener: Listener) -> None:
    notify("bars", "é" * 8_000)
    assert listener.wait().payloads == {"bars": frozenset({""})}


def test_silence_ends_in_a_sweep(listener: Listener) -> None:
    assert listener.wait(timeout=0.01) == Wake(is_sweep=True)


def test_stop_interrupts_a_long_wait(listener: Listener) -> None:
    timer = threading.Timer(0.05, listener.stop)
    timer.start()
    listener.wait(timeout=60)
    assert listener.is_stopped
    timer.join()


def test_a_listener_whose_connection_was_cut_sweeps_and_hears_again(listener: Listener) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert listener.wait().is_sweep  # finds the connection gone
    assert listener.wait().is_sweep  # connects again
    notify("bars", "after")
    assert listener.wait().payloads == {"bars": frozenset({"after"})}


def test_the_loop_survives_a_lost_database_and_ends_when_stopped(listener: Listener) -> None:
    wakes: list[Wake] = []

    def handle(wake: Wake) -> None:
        wakes.append(wake)
        if len(wakes) == 1:
            raise OperationalError("server closed the connection")
        listener.stop()

    notify("bars", "once")
    listener.run(handle)
    assert wakes[0].payloads == {"bars": frozenset({"once"})}
    assert wakes[1].is_sweep
    assert listener.is_stopped


def test_steady_notifications_do_not_put_the_sweep_off() -> None:
    listener = Listener("bars", sweep_seconds=0.1)
    wakes = [listener.wait()]
    for number in range(200):
        notify("bars", str(number))
        wakes.append(listener.wait())
        if wakes[-1].is_sweep:
            break
    listener.close()
    assert [wake.is_sweep for wake in wakes].count(True) == 2
    heard = {payload for wake in wakes for payload in wake.payloads.get("bars", ())}
    assert heard == {str(number) for number in range(len(wakes) - 1)}
