"""Fills are recorded once, in whatever order they come, and the ledger always balances."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.utils.timezone import now

from alphastrat.core.errors import ConflictError, InvalidInput
from portfolio.models import CashMovement, EquityPoint, Fill, Order, Position
from portfolio.services import accounting, accounts
from portfolio.services.accounting import EquityIn, record_equity, record_fills
from tests.portfolio.trading_builders import START, content, fill_in, identity_gap, make_account
from tests.strategies.builders import make_market, make_strategy

pytestmark = pytest.mark.django_db
SYMBOLS = ("AAPL", "JPM", "KO")


@pytest.fixture(autouse=True)
def stored(db):
    make_market(until=date(2016, 12, 30))


@pytest.fixture
def account(alice):
    return make_account(alice)


def send(account, *fills, source="api"):
    return record_fills(account, fills, source=source, at=now())


def statuses(recorded):
    return [row.status for row in recorded.rows]


def test_a_fill_moves_cash_and_position_exactly(account):
    recorded = send(account, fill_in("1", quantity="3.5", price="101.25"))
    assert statuses(recorded) == ["recorded"]
    account.refresh_from_db()
    assert account.cash == Decimal("100000") - Decimal("3.5") * Decimal("101.25") - 1
    position = Position.objects.get()
    assert (position.quantity, position.average_price) == (Decimal("3.5"), Decimal("101.25"))
    assert position.entered_at == START + timedelta(days=10)


def test_a_repeated_delivery_adds_nothing(account):
    fills = [fill_in("1"), fill_in("2", "sell", 4, 110)]
    send(account, *fills)
    before = content(account)
    assert statuses(send(account, *fills, fills[0])) == ["known", "known", "known"]
    assert content(account) == before
    assert Fill.objects.count() == 2


def test_the_same_id_with_other_values_is_refused_with_what_to_do(account):
    send(account, fill_in("1"))
    (row,) = send(account, fill_in("1", quantity=11)).refused
    assert "send a correction" in row.message
    assert row.column == "execution_id"


def test_the_same_id_from_two_sources_is_two_executions(account):
    send(account, fill_in("1"))
    send(account, fill_in("1"), source="csv")
    assert Fill.objects.count() == 2


def test_a_late_fill_recomputes_what_follows(account):
    at = START + timedelta(days=20)
    send(account, fill_in("2", "sell", 10, 120, filled_at=at))
    assert Position.objects.get().quantity == -10
    send(account, fill_in("1", "buy", 10, 100))
    position = Position.objects.get()
    assert (position.quantity, position.realised) == (0, Decimal(200))


def test_a_correction_is_a_new_row_that_replaces_the_old_one(account):
    send(account, fill_in("1", quantity=10, price=100))
    send(account, fill_in("1c", quantity=12, price=99, corrects="1"))
    position = Position.objects.get()
    assert (position.quantity, position.cost) == (12, Decimal(12 * 99))
    assert Fill.objects.count() == 2
    send(account, fill_in("1x", corrects="1c", is_cancelled=True))
    assert Position.objects.get().quantity == 0
    account.refresh_from_db()
    assert account.cash == 100_000


def test_a_correction_may_come_with_what_it_corrects(account):
    recorded = send(account, fill_in("1c", quantity=12, corrects="1"), fill_in("1"))
    assert statuses(recorded) == ["recorded", "recorded"]
    assert Position.objects.get().quantity == 12


@pytest.mark.parametrize(
    ("changes", "column", "says"),
    [
        ({"symbol": "APL"}, "symbol", "Did you mean AAPL"),
        ({"side": "hold"}, "side", "neither buy nor sell"),
        ({"quantity": Decimal(0)}, "quantity", "above 0"),
        ({"quantity": Decimal("NaN")}, "quantity", "above 0"),
        ({"quantity": Decimal("0.123456789")}, "quantity", "decimal places"),
        ({"price": Decimal(-1)}, "price", "out of range"),
        ({"commission": Decimal("Infinity")}, "commission", "out of range"),
        ({"filled_at": START.replace(tzinfo=None)}, "filled_at", "no time zone"),
        ({"filled_at": now() + timedelta(days=2)}, "filled_at", "future"),
        ({"execution_id": " "}, "execution_id", "id"),
        ({"corrects": "9"}, "corrects", "no execution 9"),
        ({"is_cancelled": True}, "is_cancelled", "never was"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_the_good_one_lands(account, changes, column, says):
    recorded = send(account, replace(fill_in("1"), **changes), fill_in("2"))
    assert statuses(recorded) == ["refused", "recorded"]
    assert recorded.refused[0].column == column
    assert says in recorded.refused[0].message
    assert Fill.objects.count() == 1


def test_simulated_and_closed_accounts_take_no_fills(alice, account):
    paper = make_account(alice, broker="paper", strategy=make_strategy(alice, name="Paper"))
    with pytest.raises(ConflictError, match="simulated"):
        send(paper, fill_in("1"))
    accounts.close_account(account, at=now())
    with pytest.raises(ConflictError, match="closed"):
        send(account, fill_in("1"))


def test_a_fill_completes_the_order_it_names(account):
    order = Order.objects.create(
        account=account,
        instrument=fill_instrument(),
        client_order_id="o1",
        side="buy",
        quantity=10,
        reason="entry",
        decided_at=START,
        reference_price=99,
    )
    send(account, fill_in("1", quantity=4, client_order_id="o1"))
    order.refresh_from_db()
    assert order.status == "pending"
    send(account, fill_in("2", quantity=6, client_order_id="o1"))
    order.refresh_from_db()
    assert order.status == "filled"
    assert set(order.fills.values_list("reference_price", flat=True)) == {Decimal(99)}


def fill_instrument():
    from alphastrat.marketdata.models import Instrument

    return Instrument.objects.get(symbol="AAPL")


def random_story(seed: int, n_fills: int):
    """Return executions of a year with corrections and cancellations of some of them."""
    chance = random.Random(seed)
    story = []
    for number in range(n_fills):
        fill = fill_in(
            f"{number:05}",
            chance.choice(["buy", "sell"]),
            Decimal(chance.randrange(1, 10**6)) / 10**3,
            Decimal(chance.randrange(1, 10**9)) / 10**6,
            symbol=chance.choice(SYMBOLS),
            commission=Decimal(chance.randrange(-100, 500)) / 100,
            # Many at the same time, so that the order of equal times matters.
            filled_at=START + timedelta(hours=chance.randrange(0, 24 * 300)),
        )
        story.append([fill])
        if chance.random() < 0.1:
            again = replace(fill, execution_id=f"{number:05}c", corrects=fill.execution_id)
            story[-1].append(replace(again, quantity=fill.quantity + 1, price=fill.price + 1))
            if chance.random() < 0.3:
                gone = replace(
                    again, execution_id=f"{number:05}x", corrects=f"{number:05}c", is_cancelled=True
                )
                story[-1].append(gone)
    return story, chance


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thousands_of_fills_in_any_order_come_to_the_same_ledger(alice, account, seed):
    story, chance = random_story(seed, 1_000)
    marked = START + timedelta(days=200)
    type(account).objects.filter(pk=account.pk).update(marked_to=marked)
    late = [fill for chain in story for fill in chain[:1]]
    late.sort(key=lambda fill: fill.filled_at + timedelta(hours=chance.randrange(0, 24 * 20)))
    later = [fill for chain in story for fill in chain[1:]]
    sent = 0
    while late:
        size = chance.randrange(1, 120)
        batch, late = late[:size], late[size:]
        recorded = send(account, *batch, *chance.sample(batch, len(batch) // 4))
        sent += recorded.n_recorded
        assert identity_gap(account) == 0
    for level in ("c", "x"):
        sent += send(account, *[f for f in later if f.execution_id.endswith(level)]).n_recorded
        assert identity_gap(account) == 0
    assert sent == len([fill for chain in story for fill in chain]) == Fill.objects.count()
    derived = content(account)
    assert len(derived["equity"]) > 100
    assert all(cash + value == equity for _, cash, value, equity, *_ in derived["equity"])

    accounting.rebuild(account)
    assert content(account) == derived

    other = make_account(alice, strategy=make_strategy(alice, name="From scratch"))
    type(account).objects.filter(pk=other.pk).update(marked_to=marked)
    ordered = sorted((f for c in story for f in c), key=lambda f: (f.filled_at, f.execution_id))
    send(other, *ordered)
    for level in range(3):
        send(other, *[chain[level] for chain in story if len(chain) > level])
    assert content(other) == derived


def past_of(account):
    """Return what was marked and filled so far, in order."""
    marks = account.equity_points.order_by("marked_at").values_list(
        "marked_at", "equity", "bar_return", "gross_exposure"
    )
    fills = Fill.objects.effective().filter(account=account).order_by(*Fill._meta.ordering)
    return list(marks), list(fills.values_list("pk", flat=True))


@pytest.mark.parametrize("is_ordered", [True, False])
def test_what_did_not_change_the_past_only_added_to_it(account, is_ordered):
    story, chance = random_story(4, 120)
    fills = [fill for chain in story for fill in chain]
    if is_ordered:
        fills = sorted((chain[0] for chain in story), key=lambda fill: fill.filled_at)
    else:
        type(account).objects.filter(pk=account.pk).update(marked_to=START + timedelta(days=200))
    n_added, before = 0, past_of(account)
    while fills:
        account.refresh_from_db()
        revision, size = account.revision, chance.randrange(1, 9)
        batch, fills = fills[:size], fills[size:]
        send(account, *batch)
        account.refresh_from_db()
        after = past_of(account)
        if account.past_revision <= revision:
            n_added += 1
            assert all(new[: len(old)] == old for old, new in zip(before, after, strict=True))
        before = after
    assert (n_added > 10) is is_ordered


def test_cash_that_moves_is_no_performance_and_borrow_costs_are(account):
    account.marked_to = START + timedelta(days=30)
    account.save()
    accounting.rebuild(account)
    day = START + timedelta(days=10)
    for kind, amount, key in (("deposit", 50_000, "d"), ("borrow", -100, "b")):
        moved = {"moved_at": day, "at": now(), "source": "test", "key": key}
        assert accounts.move_cash(account, kind, Decimal(amount), **moved)
        assert not accounts.move_cash(account, kind, Decimal(amount), **moved)
    account.refresh_from_db()
    assert (account.cash, account.deposits, account.other_income) == (149_900, 150_000, -100)
    assert CashMovement.objects.count() == 2
    points = list(EquityPoint.objects.order_by("marked_at"))
    moved_in = next(point for point in points if point.net_flow)
    assert moved_in.bar_return == pytest.approx(-100 / 150_000)
    assert [point.bar_return for point in points if not point.net_flow] == [0.0] * (len(points) - 1)
    assert identity_gap(account) == 0


def test_more_cash_than_there_is_cannot_leave(account):
    with pytest.raises(ConflictError, match="cannot leave"):
        accounts.move_cash(
            account,
            "withdrawal",
            Decimal(-100_001),
            moved_at=START,
            at=now(),
            source="test",
            key="w",
        )
    with pytest.raises(InvalidInput):
        accounts.move_cash(
            account, "gift", Decimal(1), moved_at=START, at=now(), source="test", key="w"
        )


def test_reported_equity_replaces_what_the_fills_come_to(account):
    send(account, fill_in("1"))
    days = [START + timedelta(days=n) for n in (1, 2, 3)]
    points = [EquityIn(days[0], Decimal(100_000)), EquityIn(days[2], Decimal(112_200), None, 2_000)]
    points[1] = EquityIn(days[2], Decimal(112_200), Decimal(12_200), Decimal(2_000))
    assert record_equity(account, points, source="api", at=now()).n_recorded == 2
    assert record_equity(account, points, source="api", at=now()).n_recorded == 0
    late = EquityIn(days[1], Decimal(110_000))
    assert record_equity(account, [late], source="api", at=now()).n_recorded == 1
    found = list(EquityPoint.objects.order_by("marked_at"))
    assert [point.equity for point in found] == [100_000, 110_000, 112_200]
    assert [point.bar_return for point in found] == [
        None,
        pytest.approx(0.1),
        pytest.approx(112.2 / 112 - 1),
    ]
    assert found[2].position_value == 100_000
    account.refresh_from_db()
    assert (account.equity, account.reports_equity) == (112_200, True)
    refused = record_equity(account, [EquityIn(days[0], Decimal("NaN"))], source="api", at=now())
    assert refused.refused[0].column == "equity"


def test_a_strategy_has_one_open_account(alice, account):
    with pytest.raises(ConflictError, match="open account"):
        make_account(alice, strategy=account.strategy)
    with pytest.raises(InvalidInput):
        make_account(alice, strategy=make_strategy(alice, name="Poor"), capital=Decimal(-1))


@pytest.mark.parametrize("n_fills", [2, 20])
def test_recording_costs_the_same_queries_however_many_fills(
    account, n_fills, django_assert_max_num_queries
):
    fills = [fill_in(str(n), symbol="KO") for n in range(n_fills)]
    with django_assert_max_num_queries(18):
        send(account, *fills)
