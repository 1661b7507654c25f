"""A delivery lands once, whoever kills it and whoever delivers the same at that moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from django.conf import settings
from django.db import connection

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.models import (
    Bar,
    BarRevision,
    BarSeries,
    ImportRun,
    Instrument,
    QualityFinding,
    QuarantinedRow,
)
from alphastrat.marketdata.services import imports, ingestion
from alphastrat.marketdata.services.ingestion import Target, ingest
from alphastrat.marketdata.staging import StagingTable
from alphastrat.quant.types import Timeframe
from tests.factories import make_import

FAULTY = Path(settings.BASE_DIR) / "tests/data/marketdata/sp500_faults.csv"
AT = datetime(2018, 2, 7, 22, 0, tzinfo=UTC)
LATER = datetime(2018, 3, 1, tzinfo=UTC)
DAYS = pd.bdate_range("2018-01-02", periods=9)


class Killed(BaseException):
    """What a process that is killed never gets to see."""


def bars(*symbols: str, close: float = 10.0, days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    prices = {"open": 10.0, "high": 12.0, "low": 9.0, "close": close, "volume": 1000.0}
    frames = [pd.DataFrame({"symbol": symbol, "time": days, **prices}) for symbol in symbols]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(row_number=range(1, len(frame) + 1))


def deliver(*batches: pd.DataFrame, run: ImportRun | None = None) -> ImportRun:
    target = Target(Timeframe.DAY_1, "test")
    return ingest(batches, run=run or make_import(), target=target, at=AT)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (StagingTable, "create", 1),
        (StagingTable, "add", 1),
        (StagingTable, "add", 2),
        (StagingTable, "rename", 1),
        (StagingTable, "merge", 1),
        (StagingTable, "_count_new", 1),
        (ingestion, "_keep_quarantined", 1),
        (ingestion, "_finish", 1),
        (ingestion, "_tell", 1),
        (StagingTable, "drop", 2),
    ],
)
def test_killed_at_any_step_and_run_again_ends_the_same_once(
    monkeypatch, owner, name, call, is_done
):
    frame = bars("AAPL", "MSFT")
    frame.loc[3, "volume"] = 0.0
    batches = [frame.iloc[:10], frame.iloc[10:]]
    deliver(bars("MSFT", close=9.5, days=DAYS[:4]))  # some of it is stored, differently
    run = make_import()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _killed_in(getattr(owner, name), call, is_done=is_done))
        with pytest.raises(Killed):
            deliver(*batches, run=run)
    connection.close()  # as the death of its process does

    deliver(*batches, run=ImportRun.objects.get(pk=run.pk))
    deliver(*batches)
    assert Bar.objects.count() == 17
    assert set(Bar.objects.values_list("close", flat=True)) == {10.0}
    assert BarRevision.objects.count() == 4
    assert QuarantinedRow.objects.filter(import_run=run).count() == 1
    assert dict(BarSeries.objects.values_list("instrument__symbol", "bar_count")) == {
        "AAPL": 8,
        "MSFT": 9,
    }


def _killed_in(real: Callable[..., Any], call: int, *, is_done: bool) -> Callable[..., Any]:
    """Return `real`, but for its call number `call`, which does not return."""
    n_calls = 0

    def killed(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls != call:
            return real(*args, **kwargs)
        if is_done:
            real(*args, **kwargs)
        raise Killed

    return killed


@pytest.mark.django_db(transaction=True)
def test_killed_between_batches_leaves_nothing_behind():
    def broken_off():
        yield bars("AAPL")
        raise Killed

    with pytest.raises(Killed):
        ingest(broken_off(), run=make_import(), target=Target(Timeframe.DAY_1, "test"), at=AT)
    assert not Instrument.objects.exists()
    assert not BarSeries.objects.exists()


def at_once(*works: Callable[[], Any]) -> list[BaseException]:
    """Run works side by side, each with a connection of its own; return their failures."""
    failures: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return failures


@pytest.mark.django_db(transaction=True)
def test_two_deliveries_of_one_series_at_once_follow_each_other(monkeypatch):
    at_the_merge = threading.Barrier(2, timeout=20)
    real = StagingTable.merge

    def together(self: StagingTable, *, at: datetime) -> Any:
        at_the_merge.wait()
        return real(self, at=at)

    deliver(bars("AAPL", "MSFT", days=DAYS[:1]))
    monkeypatch.setattr(StagingTable, "merge", together)
    failures = at_once(
        lambda: deliver(bars("AAPL", "MSFT", close=10.5)),
        lambda: deliver(bars("MSFT", "AAPL", close=11.0)),
    )
    assert failures == []
    assert Bar.objects.count() == 18
    assert {one.bar_count for one in BarSeries.objects.all()} == {9}
    # One of them won every bar; what the other one said is on record.
    assert Bar.objects.values("close").distinct().count() == 1
    assert BarRevision.objects.count() == 2 * 1 + 2 * 9


@pytest.mark.django_db(transaction=True)
def test_two_first_deliveries_of_one_series_at_once_make_it_once(monkeypatch):
    before_the_series = threading.Barrier(2, timeout=20)
    real = ingestion._create_missing

    def together(*args: Any) -> None:
        before_the_series.wait()
        real(*args)

    monkeypatch.setattr(ingestion, "_create_missing", together)
    failures = at_once(lambda: deliver(bars("AAPL", "MSFT")), lambda: deliver(bars("MSFT", "AAPL")))
    assert failures == []
    assert BarSeries.objects.count() == Instrument.objects.count() == 2
    assert Bar.objects.count() == 18
    assert sorted(ImportRun.objects.values_list("rows_stored", "rows_unchanged")) == [
        (0, 18),
        (18, 0),
    ]


@pytest.mark.django_db
def test_an_odd_symbol_is_held_back_and_harms_no_other():
    run = deliver(bars("AAPL", "X" * 60))
    assert (run.rows_stored, run.rows_quarantined) == (9, 9)
    assert set(run.quarantined.values_list("reason", flat=True)) == {"bad_symbol"}


@pytest.mark.django_db
def test_only_so_many_held_back_rows_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(ingestion, "MAX_QUARANTINED_KEPT", 5)
    frame = bars("AAPL", "MSFT", "KO")
    frame.loc[frame.index % 2 == 0, "volume"] = 0.0
    run = deliver(frame.iloc[:9], frame.iloc[9:])
    assert (run.rows_quarantined, run.report["reasons"]["no_volume"]) == (14, 14)
    assert run.quarantined.count() == 5


def faulty_run() -> ImportRun:
    return make_import(
        stored_path=str(FAULTY), options={"timeframe": "1d", "exchange": "XNYS", "zone": ""}
    )


@pytest.mark.django_db
def test_the_faults_of_the_large_file_are_found_and_its_suspected_splits_named():
    run = imports.import_file(faulty_run(), at=LATER)
    assert (run.rows_read, run.rows_stored, run.rows_quarantined) == (279, 256, 23)
    held_back = run.quarantined.order_by("symbol").values_list("symbol", flat=True)
    assert " ".join(held_back) == (
        "AOS BBY BHF CHD CHK DHR DHR DHR ES FTV IP LNT O O O O REGN SPG UA UA VRTX WRK WRK"
    )
    assert run.report["reasons"] == {
        "outside_range": 11,
        "absent_price": 11,
        "high_below_low": 1,
    }
    jumps = QualityFinding.objects.filter(kind="suspected_split").order_by(
        "series__instrument__symbol", "start_at"
    )
    assert [(one.series.instrument.symbol, f"{one.start_at:%Y-%m-%d}") for one in jumps] == [
        ("AMD", "2016-04-22"),
        ("BAX", "2015-07-01"),
        ("DISCA", "2014-08-07"),
        ("DISCK", "2014-08-07"),
        ("EBAY", "2015-07-20"),
        ("NI", "2015-07-02"),
        ("NWL", "2017-09-15"),
        ("VRTX", "2013-04-19"),
        ("VRTX", "2014-06-24"),
    ]
    assert run.report["suspected_splits"] == 9


@pytest.mark.django_db
def test_the_large_file_twice_is_unchanged_and_lists_its_splits_again():
    imports.import_file(faulty_run(), at=LATER)
    again = imports.import_file(faulty_run(), at=LATER)
    assert (again.rows_stored, again.rows_unchanged, again.rows_quarantined) == (0, 256, 23)
    assert again.report["suspected_splits"] == 9


@pytest.mark.django_db
def test_a_missing_upload_fails_with_what_to_do(tmp_path):
    run = make_import(stored_path=str(tmp_path / "gone.csv"), options={"timeframe": "1d"})
    with pytest.raises(InvalidInput):
        imports.import_file(run, at=AT)
    run.refresh_from_db()
    assert (run.status, run.error) == ("failed", "The uploaded file is no longer there.")
    assert run.report["fields"] == {"file": "Upload it again."}


@pytest.mark.django_db
def test_an_import_killed_after_the_merge_only_looks_over_its_series(monkeypatch):
    run = faulty_run()

    def killed(*_args: Any, **_kwargs: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(imports, "look_over", killed)
        with pytest.raises(Killed):
            imports.import_file(run, at=LATER)
    again = imports.import_file(ImportRun.objects.get(pk=run.pk), at=LATER)
    assert (again.rows_stored, again.report["suspected_splits"]) == (256, 9)
