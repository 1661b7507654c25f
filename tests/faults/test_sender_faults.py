"""Receivers that hang, fail or drop the answer, and senders that are killed: nothing is lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from django.utils.timezone import now

from monitoring.models import Notification
from monitoring.services.notifications import queue_for
from tests.factories import make_user
from tests.faults.staging import IMPATIENT, Processes, kill, wait_until
from tests.monitoring.outbox_builders import make_alert, make_event, make_transport
from tests.monitoring.receivers import receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

N_EVENTS = 20
N_KILLED = 4


@pytest.fixture
def alice():
    return make_user()


def queue(owner, n: int) -> set[str]:
    queue_for([make_event(make_alert(owner)) for _ in range(n)], at=now())
    return set(Notification.objects.values_list("key", flat=True))


def n_sent() -> int:
    return Notification.objects.filter(status="sent").count()


def test_receivers_that_hang_fail_or_drop_the_answer_get_everything_once_they_work(alice, capsys):
    behaviours = {"healthy": 204, "hangs": "hang", "fails": 500, "drops": "drop"}
    with ExitStack() as stack:
        hooks = {name: stack.enter_context(receiver(how)) for name, how in behaviours.items()}
        for name, hook in hooks.items():
            make_transport(alice, name=name, url=hook.origin)
        queue(alice, N_EVENTS)
        processes = stack.enter_context(Processes())
        processes.fork("send_alerts", "--loop", constants=IMPATIENT)
        healthy = Notification.objects.filter(transport__name="healthy")
        wait_until(
            lambda: healthy.filter(status="sent").count() == N_EVENTS,
            seconds=30,
            what="the healthy receiver has everything while the others fail",
        )
        faulty = [hooks[name] for name in behaviours if name != "healthy"]
        wait_until(lambda: all(hook.requests for hook in faulty), seconds=30, what="all were tried")
        for hook in faulty:
            hook.behaviour = 204
        took = wait_until(
            lambda: n_sent() == 4 * N_EVENTS, seconds=120, what="everything is accepted"
        )
        counts = {}
        for name, hook in hooks.items():
            expected = set(
                Notification.objects.filter(transport__name=name).values_list("key", flat=True)
            )
            assert set(hook.keys) == expected
            # A receiver that hangs still holds what its sender has long given up.
            assert name == "hangs" or hook.n_overlapping == 0
            counts[name] = f"{len(hook.keys)} requests for {len(expected)} keys"
    with capsys.disabled():
        print(f"\n{counts}, all accepted {took:.0f} s after the mending")  # noqa: T201


def test_killed_senders_lose_nothing_and_never_send_a_message_twice_at_once(alice, capsys):
    with receiver(204, seconds=0.2) as hook, Processes() as processes:
        make_transport(alice, url=hook.origin)
        keys = queue(alice, 8 * N_EVENTS)
        # One sender stays; beside it others are killed between their claims and the acceptance.
        processes.fork("send_alerts", "--loop", constants=IMPATIENT)
        for _ in range(N_KILLED):
            victim = processes.fork("send_alerts", "--loop", constants=IMPATIENT)
            n_before = len(hook.requests)
            wait_until(
                lambda n=n_before: len(hook.requests) > n + 4 or n_sent() == len(keys),
                seconds=30,
                what="something is being sent",
            )
            time.sleep(random.uniform(0.0, 0.2))
            kill(victim)
        took = wait_until(lambda: n_sent() == len(keys), seconds=90, what="everything is accepted")
    repeated = Counter(hook.keys)
    assert set(repeated) == keys
    assert hook.n_overlapping == 0
    n_repeated = sum(1 for n in repeated.values() if n > 1)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{N_KILLED} senders killed: {len(keys)} messages, {len(hook.keys)} requests, "
            f"{n_repeated} messages repeated with the same key, none lost, "
            f"none twice at once, done {took:.0f} s after the last kill"
        )
