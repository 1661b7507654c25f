"""What is remembered and added to is what a fresh look finds, whatever happened meanwhile."""

from __future__ import annotations

import random
from dataclasses import fields
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.utils.timezone import now

from monitoring.models import Shadow
from monitoring.services import account_series, expectations, observations
from monitoring.services.account_series import Memory
from portfolio.models import Account, EquityPoint, Fill
from portfolio.services.accounting import EquityIn, record_equity, record_fills
from portfolio.services.accounts import move_cash
from tests.monitoring.verification_builders import (
    AT,
    make_account,
    make_promised,
    trade_like_shadow,
)
from tests.portfolio.trading_builders import START, fill_in
from tests.portfolio.trading_builders import make_account as make_external
from tests.strategies.builders import make_market

pytestmark = pytest.mark.django_db
# Bytes of one of them.
SENT = {"points": 4 * 8, "fills": 16 + 4 * 8}


def same(left, right) -> bool:
    """Compare observations or parts of them, arrays by their content."""
    if isinstance(left, np.ndarray):
        return left.shape == right.shape and np.array_equal(
            left, right, equal_nan=left.dtype.kind == "f"
        )
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if hasattr(left, "__dataclass_fields__"):
        return all(same(getattr(left, one.name), getattr(right, one.name)) for one in fields(left))
    return left == right


@pytest.fixture
def read(monkeypatch):
    """Count the points and fills that are read."""
    counts = {"points": 0, "fills": 0}
    query = account_series.binary_rows

    def counted(statement, parameters):
        rows = query(statement, parameters)
        for name, size in SENT.items():
            if f".{name} IS NOT NULL" in statement:
                counts[name] += sum(len(row[1]) // size for row in rows)
        return rows

    monkeypatch.setattr(account_series, "binary_rows", counted)
    return counts


def agrees(memory, *, at=AT):
    fresh, kept = (observations.load(None, at=at, memory=one) for one in (None, memory))
    differing = [one.name for one in fields(fresh) if not same(*parts(one.name, fresh, kept))]
    assert differing == []
    return fresh


def parts(name, *owners):
    return [getattr(one, name) for one in owners]


@pytest.fixture
def followed(alice):
    make_market()
    strategy, _ = make_promised(alice)
    account = make_account(strategy)
    trade_like_shadow(account)
    return account


def move(account, *, past: bool = False) -> None:
    account.refresh_from_db()
    account.revision += 1
    if past:
        account.past_revision = account.revision
    account.save()


def test_of_a_new_bar_only_that_is_read(followed, read):
    memory = Memory()
    points = list(EquityPoint.objects.order_by("marked_at"))
    fills = list(Fill.objects.order_by("filled_at"))
    cut = points[-20].marked_at
    EquityPoint.objects.filter(marked_at__gt=cut).delete()
    Fill.objects.filter(filled_at__gt=cut).delete()
    agrees(memory)
    for point in points[-19:]:
        EquityPoint.objects.bulk_create([point])
        before = point.marked_at - timedelta(days=3)
        new = [one for one in fills if max(cut, before) < one.filled_at <= point.marked_at]
        Fill.objects.bulk_create(new, ignore_conflicts=True)
        move(followed)
        read.update(points=0, fills=0)
        kept = observations.load(None, at=AT, memory=memory)
        assert read["points"] == 2
        assert read["fills"] <= len(new) + 6
        assert same(kept, observations.load(None, at=AT))


def test_what_has_not_moved_is_neither_read_nor_put_together_again(followed, read):
    memory = Memory()
    first = observations.load(None, at=AT, memory=memory)
    read.update(points=0, fills=0)
    again = observations.load(None, at=AT + timedelta(minutes=1), memory=memory)
    assert again.returns is first.returns
    assert read == {"points": 0, "fills": 0}


def test_a_past_that_changed_is_read_again(followed):
    memory = Memory()
    agrees(memory)
    EquityPoint.objects.filter(pk=EquityPoint.objects.order_by("marked_at")[50].pk).update(
        bar_return=0.5
    )
    Fill.objects.filter(pk=Fill.objects.order_by("filled_at")[3].pk).update(price=1)
    move(followed, past=True)
    agrees(memory)


def test_a_new_shadow_and_a_new_expectation_are_read(followed):
    memory = Memory()
    agrees(memory)
    Shadow.objects.update(matched=b"", computed_at=AT + timedelta(hours=1))
    before = agrees(memory)
    expectations.freeze(followed.strategy, at=AT + timedelta(hours=2))
    after = agrees(memory)
    assert len(before.matches) == len(after.matches) == 0


def test_what_is_forgotten_is_read_again(followed):
    memory = Memory()
    agrees(memory)
    EquityPoint.objects.update(gross_exposure=0.25)
    memory.forget([followed.strategy_id])
    assert (agrees(memory).exposure[0, -9:] == 0.25).all()


def test_evidence_that_reaches_further_back_is_read_from_there(followed):
    memory = Memory()
    Account.objects.update(marked_to=AT - timedelta(days=200))
    agrees(memory)
    Account.objects.update(opened_at=followed.opened_at - timedelta(days=30))
    agrees(memory)


@pytest.mark.parametrize("seed", range(4))
def test_accounts_with_late_and_corrected_fills_are_as_a_fresh_look_has_them(alice, seed):
    make_market(until=date(2016, 12, 30))
    account = make_external(alice)
    Account.objects.filter(pk=account.pk).update(marked_to=START + timedelta(days=60))
    chance, memory, at = random.Random(seed), Memory(), now()
    for number in range(30):
        account.refresh_from_db()
        day = START + timedelta(hours=chance.randrange(24 * 2 * number, 24 * 60 + 48 * number))
        what = chance.random()
        if what < 0.6:
            side, size = chance.choice(["buy", "sell"]), Decimal(chance.randrange(1, 50))
            send = [fill_in(str(number), side, size, 100 + number, filled_at=day)]
            record_fills(account, send, source="api", at=at)
        elif what < 0.8:
            moved = {"moved_at": day, "at": at, "source": "test", "key": str(number)}
            move_cash(account, "deposit", Decimal(1_000), **moved)
        elif seed % 2:
            point = EquityIn(marked_at=day, equity=Decimal(100_000 + number))
            record_equity(account, [point], source="api", at=at)
        else:
            Account.objects.filter(pk=account.pk, marked_to__lt=day).update(marked_to=day)
        agrees(memory, at=at)
