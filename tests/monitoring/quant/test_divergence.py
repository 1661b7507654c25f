"""Every way in which a live signal can differ from its re-run is found, named and put down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from monitoring.quant.divergence import (
    DIVERGENCE,
    NEVER,
    GivenSignals,
    Kind,
    Reason,
    Rerun,
    compare_signals,
    give_reasons,
)
from monitoring.quant.signal_tally import SignalTally, judge_signals, tally
from strategies.quant.signals import (
    LONG_ENTRY,
    LONG_EXIT,
    SHORT_ENTRY,
    SHORT_EXIT,
    next_position,
    signal_type,
)

DAY = 86_400_000_000
MINUTE = 60_000_000
WISHES = (0, LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT)
SIGNS = {"BUY": 1, "SELL": -1, "HOLD": 0}


def make_rerun(n_bars=12, *, wishes=None) -> Rerun:
    """Two instruments; the first is bought at bar 2 and sold at bar 6, the second never moves."""
    if wishes is None:
        wishes = np.zeros((n_bars, 2), np.uint8)
        wishes[2, 0], wishes[6, 0] = LONG_ENTRY, LONG_EXIT
    shape = wishes.shape
    strength = np.linspace(0.1, 0.9, wishes.size).reshape(shape)
    close = 100.0 + np.arange(wishes.size, dtype=float).reshape(shape)
    return Rerun(np.arange(1, shape[0] + 1) * DAY, wishes, strength, close)


def given_live(again: Rerun, *, rows=None) -> GivenSignals:
    """Return what the engine stores bar by bar: each signal seen from the side before it."""
    n_bars, n_assets = again.wishes.shape
    records = []
    for j in range(n_assets):
        side = 0
        for t in range(n_bars):
            wish = int(again.wishes[t, j])
            target = next_position(side, wish)
            kind = SIGNS[signal_type(side, target).value]
            close = again.times[t]
            numbers = (again.strength[t, j], again.close[t, j])
            records.append((j, close, close + MINUTE, kind, side, wish, *numbers))
            side = target
    columns = zip(*[one for k, one in enumerate(records) if rows is None or k in rows], strict=True)
    return GivenSignals(*(np.array(c, float if k > 5 else np.int64) for k, c in enumerate(columns)))


def without(given: GivenSignals, *places: int) -> GivenSignals:
    kept = np.setdiff1d(np.arange(len(given)), places)
    return GivenSignals(*(getattr(given, name)[kept] for name in GivenSignals.__slots__))


def changed(given: GivenSignals, place: int, **values) -> GivenSignals:
    columns = {}
    for name, value in values.items():
        column = getattr(given, name).copy()
        column[place] = value
        columns[name] = column
    return replace(given, **columns)


def words(found):
    return [
        (int(one["time"] // DAY) - 1, int(one["asset"]), Kind(one["kind"]), Reason(one["reason"]))
        for one in found
    ]


@pytest.fixture
def again() -> Rerun:
    return make_rerun()


def test_signals_of_the_same_version_on_the_same_bars_agree(again):
    compared = compare_signals(given_live(again), again)
    assert len(compared.found) == 0
    assert compared.compared.tolist() == [2] * 12
    assert compared.sides[:, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]


@hypothesis_given(
    st.lists(
        st.sampled_from([0, LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT]),
        min_size=4,
        max_size=60,
    ),
    st.integers(0, 1),
)
def test_nothing_differs_whatever_is_wished(wished, n_cut):
    """Also when the comparison goes on from where it stopped."""
    again = make_rerun(wishes=np.array(wished, np.uint8)[:, None])
    given = given_live(again)
    whole = compare_signals(given, again)
    assert len(whole.found) == 0
    half = len(wished) // 2 + n_cut
    rest = Rerun(again.times[half:], again.wishes[half:], again.strength[half:], again.close[half:])
    late = GivenSignals(*(getattr(given, name)[half:] for name in GivenSignals.__slots__))
    second = compare_signals(late, rest, sides=whole.sides[half - 1])
    assert len(second.found) == 0
    np.testing.assert_array_equal(second.sides, whole.sides[half:])
    assert second.compared.sum() == len(wished) - half


def test_another_type_on_unchanged_bars_is_a_repaint(again):
    given = changed(given_live(again), 4, type=1, wish=LONG_ENTRY)
    assert words(compare_signals(given, again).found) == [(4, 0, Kind.TYPE, Reason.REPAINT)]


def test_another_strength_is_found_beyond_the_tolerance(again):
    given = given_live(again)
    near = changed(given, 15, strength=given.strength[15] + 5e-4)
    assert len(compare_signals(near, again).found) == 0
    far = changed(given, 15, strength=given.strength[15] + 0.2)
    (found,) = compare_signals(far, again).found
    assert words([found]) == [(3, 1, Kind.STRENGTH, Reason.REPAINT)]
    assert found["live_strength"] - found["again_strength"] == pytest.approx(0.2)


def test_a_signal_that_saw_another_price_is_put_down_to_a_restatement(again):
    given = given_live(again)
    given = changed(given, 4, price=given.price[4] * 1.01, type=1, wish=LONG_ENTRY)
    assert words(compare_signals(given, again).found) == [(4, 0, Kind.TYPE, Reason.RESTATED)]


def test_a_purchase_that_was_missed_makes_its_sale_follow(again):
    """Live never bought, so that at the exit it holds where the re-run sells."""
    given = given_live(again)
    flat = replace(
        given,
        side=np.where(given.asset == 0, 0, given.side),
        type=np.where((given.asset == 0) & (given.type < 0), 0, given.type),
    )
    found = compare_signals(without(flat, 2), again).found
    assert words(found) == [
        (2, 0, Kind.MISSING, Reason.OUTAGE),
        (6, 0, Kind.TYPE, Reason.EARLIER),
    ]
    assert [int(one) for one in found["again"]] == [1, -1]


def test_a_missing_signal_is_counted_once_the_next_bar_has_closed(again):
    given = given_live(again)
    newest = compare_signals(without(given, 11, 23), again)
    assert len(newest.found) == 0
    assert newest.compared.tolist() == [2] * 11 + [0]
    before = compare_signals(without(given, 10), again)
    assert words(before.found) == [(10, 0, Kind.MISSING, Reason.OUTAGE)]
    assert before.compared.tolist() == [2] * 12


def test_the_comparison_begins_with_the_first_live_signal(again):
    compared = compare_signals(without(given_live(again), 0, 1, 12, 13), again)
    assert len(compared.found) == 0
    assert compared.compared.tolist() == [0, 0] + [2] * 10


def test_signals_from_before_the_first_bar_are_none_of_its_business(again):
    given = given_live(again)
    rest = Rerun(again.times[4:], again.wishes[4:], again.strength[4:], again.close[4:])
    compared = compare_signals(given, rest)
    assert len(compared.found) == 0
    assert compared.compared.tolist() == [2] * 8


def test_an_instrument_without_a_bar_is_not_missed(again):
    close = again.close.copy()
    close[5, 1] = np.nan
    compared = compare_signals(without(given_live(again), 17), replace(again, close=close))
    assert len(compared.found) == 0
    assert compared.compared[5] == 1


@pytest.mark.parametrize("shift", [0, DAY // 2])
def test_a_signal_whose_bar_is_gone_is_extra(again, shift):
    """Either the instrument has no bar at that close any more, or nobody has."""
    given = changed(given_live(again), 17, time=6 * DAY + shift)
    close = again.close.copy()
    close[5, 1] = np.nan
    (found,) = compare_signals(given, replace(again, close=close)).found
    assert (Kind(found["kind"]), Reason(found["reason"])) == (Kind.EXTRA, Reason.RESTATED)
    assert np.isnan(found["again_strength"])


def test_without_signals_there_is_nothing_to_compare(again):
    none = without(given_live(again), *range(24))
    compared = compare_signals(none, again)
    assert (len(compared.found), compared.compared.sum()) == (0, 0)


def stored(*rows):
    """Bars as (asset, bar, day it was stored, whether it was restated)."""
    asset, bar, at, restated = zip(*rows, strict=True)
    return (
        np.array(asset),
        (np.array(bar) + 1) * DAY,
        np.array([one * DAY for one in at], np.int64),
        np.array(restated, bool),
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((0, 3, 20, True), Reason.RESTATED),
        ((1, 3, 20, False), Reason.LATE),
        ((0, 5, 20, True), Reason.REPAINT),  # closed after the signal
        ((0, 0, 20, True), Reason.REPAINT),  # before what the signal rests on
        ((0, 3, 4, True), Reason.REPAINT),  # stored before it was given
    ],
)
def test_what_was_stored_after_a_signal_explains_it(again, row, reason):
    found = compare_signals(changed(given_live(again), 4, type=1, wish=LONG_ENTRY), again).found
    give_reasons(found, reach=np.array([2 * DAY]), stored=stored(row))
    assert words(found) == [(4, 0, Kind.TYPE, reason)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((0, 2, 20, False), Reason.LATE),  # stored when later signals had been given
        ((1, 2, 20, False), Reason.OUTAGE),  # another instrument
        ((0, 2, 3, False), Reason.OUTAGE),  # it was there in time
    ],
)
def test_a_bar_that_came_late_explains_a_missing_signal(again, row, reason):
    found = compare_signals(without(given_live(again), 2), again).found[:1]
    give_reasons(found, reach=np.array([DAY]), stored=stored(row))
    assert words(found) == [(2, 0, Kind.MISSING, reason)]


def test_what_is_missing_without_a_later_signal_is_no_late_bar(again):
    given = without(given_live(again), *range(8, 12), *range(20, 24))
    found = compare_signals(given, again).found
    assert set(found["given_at"]) == {NEVER}
    rows = [(0, bar, 400, False) for bar in range(8, 12)]
    give_reasons(found, reach=np.full(len(found), DAY), stored=stored(*rows))
    assert set(found["reason"]) == {Reason.OUTAGE}


def test_differences_are_tallied_by_bar():
    found = np.zeros(5, DIVERGENCE)
    found["time"] = [1, 1, 1, 2, 2]
    found["kind"] = [Kind.TYPE, Kind.TYPE, Kind.MISSING, Kind.TYPE, Kind.TYPE]
    counted = tally(found)
    assert counted["time"].tolist() == [1, 1, 2]
    assert counted["n"].tolist() == [2, 1, 2]


def make_tally(compared, *entries) -> SignalTally:
    """One strategy; entries are (bar, kind, reason, how many)."""
    columns = list(zip(*entries, strict=True)) or [()] * 4
    bar, kind, reason, count = (np.array(column, np.int64) for column in columns)
    row = np.zeros(len(bar), np.int64)
    return SignalTally(np.array([compared]), row, bar, kind, reason, count)


def test_agreement_is_no_evidence_and_close():
    judged = judge_signals(make_tally([2] * 50), first=np.array([0]))
    assert judged.e_value[0] < 1
    assert not judged.is_flagged.any()
    assert judged.is_close.all()
    assert judged.differences() == {}
    assert judged.counted.share_differing().tolist() == [0.0]


def test_nothing_compared_says_nothing():
    judged = judge_signals(make_tally([0] * 5), first=np.array([0]))
    assert np.isnan(judged.e_value[0])
    assert judged.is_close.all()
    assert np.isnan(judged.counted.share_differing()[0])


def test_one_repaint_is_flagged_from_its_bar_on():
    entry = (30, Kind.STRENGTH, Reason.REPAINT, 1)
    judged = judge_signals(make_tally([2] * 50, entry), first=np.array([0]))
    assert judged.is_flagged[0].tolist() == [False] * 30 + [True] * 20
    assert judged.is_close[0].tolist() == [True] * 30 + [False] * 20
    (found,) = judged.differences().values()
    assert (found.n, found.kinds, found.first_column) == (1, {Kind.STRENGTH: 1}, 30)


def test_what_is_explained_is_flagged_only_when_it_is_frequent():
    """By hand: 3 of 5 bars, p0 0.95 against 0.90, 0.85, 0.80 and 0.75."""
    entries = [(t, Kind.MISSING, Reason.OUTAGE, 1) for t in (1, 2, 4)]
    judged = judge_signals(make_tally([1] * 5, *entries), first=np.array([0]))
    expected = np.mean([(p / 0.95) ** 2 * ((1 - p) / 0.05) ** 3 for p in (0.9, 0.85, 0.8, 0.75)])
    assert judged.e_value[0] == pytest.approx(expected)
    assert judged.is_flagged[0].tolist() == [False, False, False, False, True]
    assert judged.is_close[0].tolist() == [True, False, False, False, False]


def test_what_follows_from_a_difference_is_no_second_trial():
    alone = make_tally([1] * 9, (3, Kind.MISSING, Reason.OUTAGE, 1))
    carried = make_tally(
        [1] * 9, (3, Kind.MISSING, Reason.OUTAGE, 1), (8, Kind.TYPE, Reason.EARLIER, 1)
    )
    first = np.array([0])
    one, two = judge_signals(alone, first=first), judge_signals(carried, first=first)
    # The bar that follows is left out, so that there is one agreeing bar fewer.
    assert two.e_value[0] > one.e_value[0]
    shorter = make_tally([1] * 8, (3, Kind.MISSING, Reason.OUTAGE, 1))
    assert two.e_value[0] == pytest.approx(judge_signals(shorter, first=first).e_value[0])


def test_evidence_counts_from_where_it_was_started_anew():
    entry = (3, Kind.TYPE, Reason.REPAINT, 1)
    judged = judge_signals(make_tally([2] * 9, entry), first=np.array([4]))
    assert not judged.is_flagged.any()
    assert judged.counted.compared.sum() == 10
