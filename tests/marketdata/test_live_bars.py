"""Windows kept between bar closes are always what is stored now, whoever changed it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from django.db import transaction

from alphastrat.marketdata import live_bars
from alphastrat.marketdata.live_bars import LiveWindow, load_live_bars, read_newest
from alphastrat.marketdata.models import Bar, BarSeries
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.bars import COLUMNS
from alphastrat.quant.types import Timeframe
from tests.marketdata.builders import AT, days, deliver, rows

# What is read in a transaction is not kept, so each test commits.
pytestmark = pytest.mark.django_db(transaction=True)
N_BARS = 40
HISTORY = days("2017-06-01", "2017-12-15")
LATER = days("2017-12-18", "2018-01-31")
GAP = 100
VENDOR = Target(Timeframe.DAY_1, "vendor")


@pytest.fixture(autouse=True)
def stored():
    live_bars._kept.clear()
    deliver(rows(HISTORY.delete(GAP)))


@pytest.fixture
def read(monkeypatch) -> list[list[int]]:
    """Collect how many bars of each symbol every statement read."""
    sizes: list[list[int]] = []
    newest = live_bars._NEWEST

    def counted(document):
        answer = newest(document)
        sizes.append([len(row[-2] or ()) for row in answer or ()])
        return answer

    monkeypatch.setattr(live_bars, "_NEWEST", counted)
    return sizes


def looked_at(*symbols: str, at=AT, n_bars: int = N_BARS) -> dict[str, LiveWindow]:
    newest = read_newest(symbols, "1d", n_bars=1, known_at=at)
    return load_live_bars("1d", newest, n_bars=n_bars, known_at=at)


def look(*, at=AT, n_bars: int = N_BARS) -> LiveWindow:
    return looked_at("AAA", at=at, n_bars=n_bars)["AAA"]


def check(window: LiveWindow, *, at=AT, n_bars: int = N_BARS, source: str = "file") -> None:
    bars = Bar.objects.filter(series__source=source, closed_at__lte=at).order_by("-opened_at")
    expected = list(bars[:n_bars])[::-1]
    closes = [np.datetime64(bar.closed_at.replace(tzinfo=None), "us") for bar in expected]
    assert window.closed_at.tolist() == np.array(closes).astype(np.int64).tolist()
    values = [[getattr(bar, name) for bar in expected] for name in COLUMNS]
    assert window.values.tolist() == values


def test_a_new_bar_is_the_only_one_that_is_read(read):
    check(look())
    for day in LATER[:3]:
        deliver(rows([day]))
        check(look())
    check(look())
    assert read == [[1], [N_BARS], [1], [1], [1], [1]]


def append_two_at_once() -> None:
    deliver(rows(LATER[:2]))


def append_two_in_turn() -> None:
    deliver(rows(LATER[:1]))
    deliver(rows(LATER[1:2]))


def restate_newest() -> None:
    deliver(rows(HISTORY[-1:], closes=[55.0]))


def restate_first() -> None:
    deliver(rows(HISTORY[-N_BARS:][:1], closes=[55.0]))


def restate_and_append_at_once() -> None:
    deliver(rows([HISTORY[-3], LATER[0]], closes=[55.0, 56.0]))


def fill_a_gap() -> None:
    deliver(rows(HISTORY[GAP : GAP + 1]))


def fill_a_gap_and_append_at_once() -> None:
    deliver(rows([HISTORY[GAP], LATER[0]]))


def forget_old_bars_and_append() -> None:
    first = Bar.objects.order_by("opened_at")[:5].values_list("opened_at", flat=True)
    Bar.objects.filter(opened_at__in=list(first)).delete()
    BarSeries.objects.update(bar_count=len(HISTORY) - 1 - 5, revision=2)
    deliver(rows(LATER[:1]))


def change_a_bar_by_hand() -> None:
    newest = Bar.objects.order_by("-opened_at")[0]
    Bar.objects.filter(pk=newest.pk).update(close=newest.close - 0.1)
    BarSeries.objects.update(revision=2)


CHANGES = [
    append_two_at_once,
    append_two_in_turn,
    restate_newest,
    restate_first,
    restate_and_append_at_once,
    fill_a_gap,
    fill_a_gap_and_append_at_once,
    forget_old_bars_and_append,
    change_a_bar_by_hand,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_that_nobody_told_of_is_seen(change: Callable[[], None]):
    before = look()
    change()
    after = look()
    check(after)
    assert (after.closed_at.tolist(), after.values.tolist()) != (
        before.closed_at.tolist(),
        before.values.tolist(),
    )


def test_the_source_with_the_most_bars_is_followed_as_soon_as_it_has_them():
    look()
    deliver(rows(HISTORY.union(LATER), closes=[77.0] * len(HISTORY.union(LATER))), target=VENDOR)
    check(look(), source="vendor")


def test_a_present_before_the_newest_bar_sees_no_later_one_and_spoils_nothing(read):
    look()
    earlier = AT - timedelta(days=60)
    check(look(at=earlier), at=earlier)
    check(look())
    assert read[-1] == [1]


def test_more_bars_than_are_kept_are_read(read):
    look()
    check(look(n_bars=60), n_bars=60)
    assert read[-1] == [60]


def test_fewer_bars_than_asked_for_are_all_there_are(read):
    look(n_bars=1_000)
    deliver(rows(LATER[:1]))
    check(look(n_bars=1_000), n_bars=1_000)
    assert read == [[1], [len(HISTORY) - 1], [1]]


def test_what_is_rolled_back_is_not_kept():
    look()
    with transaction.atomic():
        deliver(rows(LATER[:1], closes=[55.0]))
        check(look())
        transaction.set_rollback(True)
    deliver(rows(LATER[:1], closes=[66.0]))
    check(look())


def test_symbols_without_a_series_are_left_out():
    assert looked_at("NONE") == {}
    assert set(looked_at("NONE", "AAA")) == {"AAA"}


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(live_bars, "MAX_KEPT", 2)
    deliver(rows(HISTORY, symbols=["BBB", "CCC"]))
    for symbol in ("AAA", "BBB", "CCC"):
        looked_at(symbol)
    assert len(live_bars._kept) <= 2
