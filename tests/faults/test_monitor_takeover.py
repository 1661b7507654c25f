"""A killed monitor is replaced within seconds, and no breach is lost or told twice."""

from __future__ import annotations

import random
import time
from datetime import timedelta

import pytest
from django.utils.timezone import now

from alphastrat.core.models import Heartbeat
from alphastrat.core.notify import notify
from monitoring.models import Alert, AlertEvent
from portfolio.models import Account
from tests.factories import make_user
from tests.faults.staging import Processes, kill
from tests.faults.test_worker_killed import wait_until
from tests.monitoring.alert_builders import make_rule, plain_strategy
from tests.monitoring.test_performance_monitor import trade

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
N_STRATEGIES = 12
TAKE_OVER_SECONDS = 5.0


@pytest.fixture
def start_monitor():
    with Processes() as processes:
        yield lambda: processes.fork("run_monitor")


def states() -> dict[int, str]:
    fresh = Heartbeat.objects.filter(process="monitor", beat_at__gt=now() - timedelta(seconds=6))
    return {beat.pid: beat.detail["state"] for beat in fresh}


def tell(account: Account) -> None:
    notify("monitor", f"account:{account.pk}")


def fired(strategy) -> bool:
    return Alert.objects.filter(strategy=strategy, state="firing").exists()


def test_a_standby_takes_over_within_seconds_and_no_alert_is_lost_or_doubled(start_monitor, capsys):
    alice = make_user("alice")
    make_rule(alice, cooldown_seconds=0)
    strategies = [plain_strategy(alice, f"S{i}") for i in range(N_STRATEGIES)]
    for strategy in strategies:
        trade(strategy, 0.0, 0.0, end=now())
    active, standby = start_monitor(), None
    wait_until(lambda: states().get(active.pid) == "active", seconds=90)
    standby = start_monitor()
    wait_until(lambda: states().get(standby.pid) == "standby", seconds=90)

    # The first breach is seen by the active one.
    tell(trade(strategies[0], 0.0, -0.2, end=now()))
    wait_until(lambda: fired(strategies[0]), seconds=10)

    # Breaches come in while it is killed at some moment.
    for i, strategy in enumerate(strategies[1:], start=1):
        account = trade(strategy, 0.0, -0.2, end=now())
        if i % 2:
            tell(account)  # of every second one the news is lost
        if i == N_STRATEGIES // 2:
            time.sleep(random.uniform(0, 0.05))
            kill(active)
            killed_at = time.monotonic()
    wait_until(lambda: states().get(standby.pid) == "active", seconds=TAKE_OVER_SECONDS + 2)
    took = time.monotonic() - killed_at
    wait_until(lambda: all(map(fired, strategies)), seconds=20)
    told = AlertEvent.objects.filter(kind="fired").count()
    assert Alert.objects.count() == told == N_STRATEGIES
    assert took <= TAKE_OVER_SECONDS
    with capsys.disabled():
        print(f"\ntaken over after {took:.1f} s; {told} breaches, {told} alerts, 0 lost, 0 doubled")  # noqa: T201
