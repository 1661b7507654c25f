"""One way in for bars: idempotent, partial where it must be, never half."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pandas as pd
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from alphastrat.core import events
from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.models import (
    Bar,
    BarRevision,
    BarSeries,
    ImportRun,
    Instrument,
    QuarantinedRow,
)
from alphastrat.marketdata.services import ingestion
from alphastrat.marketdata.services.ingestion import Target, ingest
from alphastrat.quant.types import Timeframe
from tests.marketdata.builders import AT, DAILY, days, deliver, instant, rows, series_of, stored

pytestmark = pytest.mark.django_db
WEEK = days("2018-01-08", "2018-01-12")


def counts(run: ImportRun) -> tuple[int, ...]:
    run.refresh_from_db()
    return (
        run.rows_read,
        run.rows_stored,
        run.rows_unchanged,
        run.rows_restated,
        run.rows_quarantined,
    )


def staging_tables() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^marketdata_(staged|changes)'"
        )
        return int(cursor.fetchone()[0])


def test_a_delivery_is_stored_with_its_sessions_and_counted():
    run = deliver(rows(WEEK, symbols=("AAA", "BBB")))
    assert counts(run) == (10, 10, 0, 0, 0)
    assert run.status == "succeeded"
    series = series_of("AAA")
    assert (series.bar_count, series.revision) == (5, 1)
    assert series.first_opened_at == instant("2018-01-08T14:30")
    assert series.last_closed_at == instant("2018-01-12T21:00")
    first = stored("AAA")[0]
    assert first[:2] == (instant("2018-01-08T14:30"), instant("2018-01-08T21:00"))
    assert first[2:] == (99.75, 101.0, 99.0, 100.0, 1000.0)
    assert set(run.series.values_list("instrument__symbol", flat=True)) == {"AAA", "BBB"}


def test_the_same_delivery_twice_adds_nothing():
    deliver(rows(WEEK))
    before = stored()
    again = deliver(rows(WEEK))
    assert counts(again) == (5, 0, 5, 0, 0)
    assert stored() == before
    assert series_of().revision == 1


def test_an_overlapping_delivery_adds_only_what_is_new():
    deliver(rows(WEEK))
    longer = rows(days("2018-01-08", "2018-01-19"))
    assert counts(deliver(longer)) == (9, 4, 5, 0, 0)
    assert series_of().bar_count == 9


@pytest.mark.parametrize(
    ("start", "end"), [("2018-01-16", "2018-01-19"), ("2018-01-02", "2018-01-05")]
)
def test_bars_after_or_before_the_stored_ones_extend_the_series(start, end):
    deliver(rows(WEEK))
    run = deliver(rows(days(start, end)))
    assert counts(run) == (4, 4, 0, 0, 0)
    series = series_of()
    opens = sorted(bar[0] for bar in stored())
    assert (series.bar_count, series.first_opened_at) == (9, opens[0])
    assert series.last_closed_at == max(bar[1] for bar in stored())


def test_bars_that_fill_a_hole_are_new():
    deliver(rows(WEEK.delete([1, 2])))
    assert counts(deliver(rows(WEEK[1:3]))) == (2, 2, 0, 0, 0)
    assert series_of().bar_count == 5


def test_a_restated_bar_keeps_what_it_was():
    deliver(rows(WEEK))
    changed = rows(WEEK)
    changed.loc[2, ["close", "volume"]] = [104.25, 7.0]
    run = deliver(changed)
    assert counts(run) == (5, 0, 4, 1, 0)
    (revision,) = BarRevision.objects.all()
    assert revision.opened_at == instant("2018-01-10T14:30")
    assert revision.import_run == run
    assert revision.recorded_at == AT
    assert revision.changed == {"close": (104.55, 104.25), "volume": (1002.0, 7.0)}
    assert stored()[2][-2:] == (104.25, 7.0)
    assert series_of().revision == 2


def test_new_and_restated_bars_are_announced_with_their_range(django_capture_on_commit_callbacks):
    told = []

    def listen(name):
        def note(**kwargs):
            told.append((name, kwargs["series_ids"], kwargs["start"], kwargs["end"]))

        return note

    new, restated = listen("stored"), listen("restated")
    events.bars_stored.connect(new)
    events.bars_restated.connect(restated)
    changed = rows(WEEK)
    changed.loc[0, "close"] = 100.5
    for delivery in (rows(WEEK), changed, changed):
        with django_capture_on_commit_callbacks(execute=True):
            deliver(delivery)
    key = str(series_of().pk)
    assert told == [
        ("stored", [key], instant("2018-01-08T14:30"), instant("2018-01-12T21:00")),
        ("restated", [key], instant("2018-01-08T14:30"), instant("2018-01-08T21:00")),
    ]


def test_good_rows_land_and_bad_ones_are_kept_with_their_reason():
    delivery = rows(WEEK, symbols=("AAA", "BBB"))
    delivery.loc[1, "high"] = 1.0
    delivery.loc[7, "close"] = float("nan")
    run = deliver(delivery)
    assert counts(run) == (10, 8, 0, 0, 2)
    assert run.report["reasons"] == {"high_below_low": 1, "absent_price": 1}
    first, second = QuarantinedRow.objects.all()
    assert (first.row_number, first.symbol, first.reason) == (2, "AAA", "high_below_low")
    assert first.values["high"] == 1.0
    assert first.opened_at == instant("2018-01-09T14:30")
    assert "high 1 is below low" in first.detail
    assert (second.row_number, second.values["close"]) == (8, None)
    assert len(stored("AAA")) == len(stored("BBB")) == 4


def test_a_wholly_unusable_delivery_changes_nothing_and_says_why():
    bad = rows(WEEK, symbols=("NEW",)).assign(open=-1.0)
    run = ImportRun.objects.create(source="file", requested_at=AT)
    with pytest.raises(InvalidInput, match="None of the 5 rows can be used"):
        ingest([bad], run=run, target=DAILY, at=AT)
    assert not Bar.objects.exists()
    assert not BarSeries.objects.exists()
    assert not Instrument.objects.exists()
    assert run.quarantined.count() == 5
    assert staging_tables() == 0


def test_an_empty_delivery_is_refused():
    run = ImportRun.objects.create(source="file", requested_at=AT)
    with pytest.raises(InvalidInput, match="no rows"):
        ingest([], run=run, target=DAILY, at=AT)


def test_a_delivery_that_breaks_off_leaves_nothing():
    def broken():
        yield rows(WEEK, symbols=("NEW",))
        raise InvalidInput("The file ends in the middle.")

    run = ImportRun.objects.create(source="file", requested_at=AT)
    with pytest.raises(InvalidInput, match="middle"):
        ingest(broken(), run=run, target=DAILY, at=AT)
    assert not Bar.objects.exists()
    assert not Instrument.objects.exists()
    assert staging_tables() == 0


def test_a_merge_that_fails_leaves_nothing(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("the power went")

    monkeypatch.setattr(ingestion, "_finish", fail)
    with pytest.raises(RuntimeError):
        deliver(rows(WEEK))
    assert not Bar.objects.exists()
    assert not BarSeries.objects.exists()


def test_a_series_made_by_another_delivery_meanwhile_is_used():
    def two_at_once():
        yield rows(WEEK[:3])
        deliver(rows(WEEK[:2]))
        yield rows(WEEK[3:], first_row=4)

    run = ImportRun.objects.create(source="file", requested_at=AT)
    ingest(two_at_once(), run=run, target=DAILY, at=AT)
    assert counts(run) == (5, 3, 2, 0, 0)
    assert series_of().bar_count == 5


def test_unknown_symbols_become_what_the_target_says_and_known_ones_stay():
    Instrument.objects.create(symbol="AAA", exchange="XNAS", sector="Tech")
    target = replace(DAILY, exchange="XLON", currency="GBP")
    deliver(rows(days("2018-01-08", "2018-01-12"), symbols=("AAA", "NEW")), target=target)
    assert Instrument.objects.get(symbol="AAA").exchange == "XNAS"
    new = Instrument.objects.get(symbol="NEW")
    assert (new.exchange, new.currency) == ("XLON", "GBP")
    assert stored("NEW")[0][0] == instant("2018-01-08T08:00")


def test_sources_adjustments_and_timeframes_are_never_mixed():
    for target in (DAILY, replace(DAILY, source="other"), replace(DAILY, adjustment="raw")):
        deliver(rows(WEEK), target=target)
    assert BarSeries.objects.count() == 3
    assert set(BarSeries.objects.values_list("bar_count", flat=True)) == {5}


def test_fx_may_have_no_volume():
    target = Target(Timeframe.DAY_1, "file", exchange="24/5", asset_class="fx")
    run = deliver(rows(WEEK).assign(volume=0.0), target=target)
    assert counts(run) == (5, 5, 0, 0, 0)


@pytest.mark.parametrize("mixed", [False, True], ids=["new", "overlapping"])
def test_queries_do_not_grow_with_symbols_or_batches_of_known_symbols(mixed):
    if mixed:
        for n_symbols in (2, 20):
            deliver(rows(WEEK[:3], symbols=names(n_symbols)))
    queries = {}
    for n_symbols in (2, 20):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            deliver(rows(WEEK, symbols=names(n_symbols)))
        queries[n_symbols] = len(captured)
    assert queries[2] == queries[20]


def names(n_symbols: int) -> list[str]:
    return [f"S{n_symbols}X{number}" for number in range(n_symbols)]


def test_research_sees_a_bar_only_from_its_close():
    deliver(rows(WEEK))
    noon = Bar.objects.known_at(instant("2018-01-10T17:00"))
    assert noon.count() == 2
    assert Bar.objects.known_at(instant("2018-01-10T21:00")).count() == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": -1.0, "open": 1.0},
        {"high": 1.0},
        {"high": float("nan")},
        {"close": float("inf"), "high": float("inf")},
        {"volume": -1.0},
        {"volume": float("nan")},
        {"closed_at": instant("2018-01-08T14:30")},
    ],
)
def test_the_schema_refuses_bars_that_cannot_be(wrong):
    deliver(rows(WEEK))
    bar = Bar.objects.filter(series=series_of()).first()
    for name, value in wrong.items():
        setattr(bar, name, value)
    bar.opened_at, bar.series_id = instant("2018-01-08T14:30"), series_of().pk
    with pytest.raises(IntegrityError), transaction.atomic():
        Bar.objects.filter(series=series_of()).update(**wrong)


def test_rows_are_encoded_as_postgresql_reads_them():
    from alphastrat.marketdata.staging import encode

    key = uuid4()
    frame = pd.DataFrame(
        {
            "symbol": ["AAA"],
            "opened_at": [pd.Timestamp("2000-01-01T00:00:01Z")],
            "closed_at": [pd.Timestamp("1999-12-31T23:59:59Z")],
            "open": [1.0],
            "high": [2.0],
            "low": [0.5],
            "close": [1.5],
            "volume": [3.0],
        }
    )
    content = encode(frame, {"AAA": key})
    assert content[:19] == b"PGCOPY\n\xff\r\n\x00" + bytes(8)
    assert content[19:21] == (8).to_bytes(2, "big")
    assert content[25:41] == key.bytes
    assert int.from_bytes(content[45:53], "big") == 1_000_000
    assert int.from_bytes(content[57:65], "big", signed=True) == -1_000_000
    assert content.endswith(b"\xff\xff")
