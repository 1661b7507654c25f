"""Two monitors, killed at random while breaches arrive: every alert once, every message sent."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils.timezone import now

from alphastrat.core.models import LiveEvent
from monitoring.models import Alert, AlertEvent, Notification
from portfolio.models import Account
from portfolio.services.accounting import record_equity
from portfolio.services.accounts import open_account
from portfolio.services.fill_checks import EquityIn
from tests.factories import make_user
from tests.faults.staging import IMPATIENT, Processes, kill, wait_until
from tests.monitoring.alert_builders import make_rule, plain_strategy
from tests.monitoring.outbox_builders import make_transport
from tests.monitoring.receivers import receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

N_STRATEGIES = 24
N_KILLS = 6
START = now().replace(microsecond=0) - timedelta(days=30)


def report(account: Account, day: int, equity: int) -> None:
    point = EquityIn(marked_at=START + timedelta(days=day), equity=Decimal(equity))
    record_equity(account, [point], source="test", at=now())


def make_accounts(owner) -> list[Account]:
    accounts = []
    for number in range(N_STRATEGIES):
        strategy = plain_strategy(owner, name=f"Strategy {number}")
        account = open_account(
            strategy,
            broker="external",
            costs={"commission_bps": 1.0, "slippage_bps": 2.0, "borrow_bps_per_year": 0.0},
            at=START - timedelta(days=1),
        )
        for day in range(3):
            report(account, day, 100_000)
        accounts.append(account)
    return accounts


def episodes() -> int:
    return Alert.objects.filter(source="rule").count()


def test_alerts_survive_monitors_that_are_killed_at_random(capsys):
    alice = make_user()
    make_rule(alice, critical_bound=-0.2, cooldown_seconds=0)
    accounts = make_accounts(alice)
    with receiver(204, seconds=0.05) as hook, Processes() as processes:
        make_transport(alice, url=hook.origin)
        monitors = [processes.fork("run_monitor", constants=IMPATIENT) for _ in range(2)]
        kills = random.sample(range(N_STRATEGIES), N_KILLS)
        for number, account in enumerate(accounts):
            report(account, 3, 90_000)
            time.sleep(random.uniform(0.0, 0.6))
            if number in kills:
                which = random.randrange(2)
                kill(monitors[which])
                monitors[which] = processes.fork("run_monitor", constants=IMPATIENT)
        took = wait_until(
            lambda: episodes() == N_STRATEGIES, seconds=90, what="every breach has its alert"
        )
        recovered = accounts[: N_STRATEGIES // 2]
        for account in recovered:
            report(account, 4, 100_000)
        kill(monitors[0])
        wait_until(
            lambda: Alert.objects.filter(state="resolved").count() == len(recovered),
            seconds=90,
            what="recovered alerts end",
        )
        expected = N_STRATEGIES + len(recovered)
        wait_until(
            lambda: Notification.objects.filter(status="sent").count() == expected,
            seconds=90,
            what="every message is accepted",
        )
    by_strategy = Counter(Alert.objects.values_list("strategy", flat=True))
    assert set(by_strategy.values()) == {1}
    assert len(by_strategy) == N_STRATEGIES
    kinds = Counter(AlertEvent.objects.values_list("kind", flat=True))
    assert kinds == {"fired": N_STRATEGIES, "resolved": len(recovered)}
    keys = Counter(hook.keys)
    assert set(keys) == set(Notification.objects.values_list("key", flat=True))
    assert len(keys) == expected
    topic = f"alerts:u{alice.pk}"
    assert LiveEvent.objects.filter(topic=topic).count() == expected
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{N_KILLS + 1} monitors killed: {N_STRATEGIES} breaches, {len(by_strategy)} alerts, "
            f"none lost, none doubled; {expected} messages in {sum(keys.values())} requests; "
            f"the last alert {took:.1f} s after the last breach"
        )
