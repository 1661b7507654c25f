"""What the database, the admin and the audit log keep of market data."""

from __future__ import annotations

from datetime import date

import pytest
from auditlog.models import LogEntry
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from alphastrat.core import jobs
from alphastrat.core.events import job_finished
from alphastrat.core.models import Job
from alphastrat.core.timescale import enable_timescale, timescale_version
from alphastrat.marketdata.models import (
    Bar,
    BarDay,
    BarSeries,
    CorporateAction,
    ImportRun,
    Instrument,
    QualityFinding,
)
from alphastrat.marketdata.services.imports import request_import
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.bars import resample_bars
from alphastrat.quant.types import Timeframe
from tests.factories import make_import, make_job, make_user, signed_in
from tests.marketdata.builders import AT, DAILY, days, deliver, minutes, rows, series_of

pytestmark = pytest.mark.django_db
WEEK = days("2018-01-08", "2018-01-12")
FIVE_MINUTES = Target(Timeframe.MINUTE_5, "file")


def test_the_database_sums_bars_up_by_day_as_research_does():
    from alphastrat.marketdata.frames import load_bars

    deliver(rows(minutes("2018-01-08T00:00", "2018-01-12T23:00")), target=FIVE_MINUTES)
    kept = BarDay.objects.filter(series=series_of()).order_by("day")
    ours = resample_bars(load_bars(series_of()), Timeframe.DAY_1, calendar="XNYS")
    values = ("open", "high", "low", "close", "volume")
    assert [tuple(day) for day in kept.values_list(*values)] == [
        tuple(bar) for bar in ours[list(values)].to_numpy()
    ]
    assert {day.n_bars for day in kept} == {78}


def test_bars_lie_in_chunks_where_timescaledb_is_and_in_a_plain_table_elsewhere():
    has_timescale = timescale_version(connection) is not None
    assert enable_timescale(connection) == has_timescale
    sessions = days("2016-01-04", "2018-01-12")
    deliver(rows(sessions))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'marketdata_bar'::regclass"
        )
        n_chunks = cursor.fetchone()[0]
        cursor.execute("SELECT relkind FROM pg_class WHERE relname = 'marketdata_barday'")
        assert cursor.fetchone() == ("v",)
    assert (n_chunks > 1) == has_timescale
    assert Bar.objects.count() == BarDay.objects.count() == len(sessions)


@pytest.mark.parametrize(
    ("kind", "split_ratio", "cash_amount"),
    [
        ("split", None, None),
        ("split", 0.0, None),
        ("split", float("nan"), None),
        ("split", 2.0, 1.0),
        ("dividend", None, None),
        ("dividend", None, -0.5),
        ("merger", 2.0, None),
    ],
)
def test_a_corporate_action_says_exactly_what_its_kind_needs(kind, split_ratio, cash_amount):
    instrument = Instrument.objects.create(symbol="AAA")
    with pytest.raises(IntegrityError), transaction.atomic():
        CorporateAction.objects.create(
            instrument=instrument,
            kind=kind,
            ex_date=date(2018, 1, 8),
            split_ratio=split_ratio,
            cash_amount=cash_amount,
            source="test",
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeframe": "7m"},
        {"adjustment": "some"},
        {"bar_count": 3},
        {"last_closed_at": AT},
    ],
)
def test_a_series_cannot_contradict_itself(wrong):
    instrument = Instrument.objects.create(symbol="AAA")
    values = {"timeframe": "1d", "source": "test", **wrong}
    with pytest.raises(IntegrityError), transaction.atomic():
        BarSeries.objects.create(instrument=instrument, **values)


def test_an_instrument_needs_a_calendar_that_exists():
    with pytest.raises(ValidationError, match="unknown exchange calendar"):
        Instrument(symbol="AAA", exchange="XXXX").full_clean()
    Instrument(symbol="AAA", exchange="24/7").full_clean()


def test_a_deleted_series_takes_its_bars_along():
    deliver(rows(WEEK))
    series_of().delete()
    assert not Bar.objects.exists()


def test_a_change_of_an_instrument_is_recorded_with_who_made_it():
    admin = make_user("ada", role="admin", is_superuser=True)
    instrument = Instrument.objects.create(symbol="AAA", name="Before")
    form = {
        "symbol": "AAA",
        "name": "After",
        "asset_class": "equity",
        "exchange": "XNYS",
        "currency": "USD",
        "tick_size": "0.01",
        "sector": "",
        "is_active": "on",
    }
    url = reverse("admin:marketdata_instrument_change", args=[instrument.pk])
    response = signed_in(admin).post(url, form)
    assert response.status_code == 302
    entry = LogEntry.objects.filter(content_type__model="instrument").latest("timestamp")
    assert entry.actor == admin
    assert entry.changes["name"] == ["Before", "After"]


@pytest.mark.parametrize(
    "model", ["instrument", "corporateaction", "barseries", "importrun", "qualityfinding"]
)
def test_an_administrator_can_look_through_everything(model):
    deliver(rows(WEEK))
    QualityFinding.objects.create(
        series=series_of(), kind="gap", start_at=AT, end_at=AT, found_at=AT
    )
    admin = signed_in(make_user("ada", role="admin", is_superuser=True))
    assert admin.get(reverse(f"admin:marketdata_{model}_changelist")).status_code == 200


@pytest.mark.parametrize("model", ["barseries", "importrun", "qualityfinding"])
def test_what_is_recorded_cannot_be_made_up_by_hand(model):
    admin = signed_in(make_user("ada", role="admin", is_superuser=True))
    assert admin.get(reverse(f"admin:marketdata_{model}_add")).status_code == 403


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_the_import_of_a_job_that_ended_badly_ends_with_it(status):
    job = make_job(status=status, error="The worker was lost.")
    run = make_import(status="running", job=job)
    other = make_import(status="running")
    job_finished.send(sender=None, job_id=str(job.pk), task=job.task, status=job.status)
    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.status, run.error) == (status, "The worker was lost.")
    assert run.finished_at == job.finished_at
    assert other.status == "running"


def test_an_import_that_has_ended_keeps_its_own_reason():
    job = make_job(status="failed", error="general")
    run = make_import(status="failed", job=job, error="The file is empty.")
    job_finished.send(sender=None, job_id=str(job.pk), task=job.task, status=job.status)
    run.refresh_from_db()
    assert run.error == "The file is empty."


def upload(content: bytes, settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch):
    """Ask for an import and let a worker do it at once."""
    settings.UPLOAD_DIR = tmp_path
    monkeypatch.setattr(jobs, "_send", lambda job: jobs.run_job(str(job.pk)))
    with django_capture_on_commit_callbacks(execute=True):
        run = request_import(
            [content],
            owner=make_user(),
            file_name="bars.csv",
            target=DAILY,
            symbol="AAA",
            zone="",
            at=AT,
        )
    run.refresh_from_db()
    return run


GOOD = b"date,open,high,low,close,volume\n" + b"".join(
    f"{day:%Y-%m-%d},10,11,9,10,5\n".encode() for day in WEEK
)


def test_an_upload_is_imported_by_a_job_with_progress(
    settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch
):
    run = upload(GOOD, settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch)
    assert (run.status, run.rows_stored, run.report["gaps"]) == ("succeeded", 5, 0)
    job = Job.objects.get()
    assert (job.status, job.result) == ("succeeded", {"stored": 5, "quarantined": 0})
    assert run.started_at < run.finished_at
    # The broker delivers twice: nothing happens.
    before = Bar.objects.count()
    jobs.run_job(str(job.pk))
    assert Bar.objects.count() == before


BAD = GOOD.replace(b",11,", b",8,")


def test_a_wrong_upload_fails_with_what_to_do_and_stores_nothing(
    settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch
):
    run = upload(BAD, settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch)
    assert run.status == "failed"
    assert "None of the 5 rows" in run.error
    assert run.report["fields"]["file"]
    assert Job.objects.get().error == run.error
    assert not Bar.objects.exists()


def test_a_failed_import_can_be_tried_again(
    settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch
):
    run = upload(BAD, settings, tmp_path, django_capture_on_commit_callbacks, monkeypatch)
    (tmp_path / f"{run.pk}.csv").write_bytes(GOOD)
    with django_capture_on_commit_callbacks(execute=True):
        jobs.retry(Job.objects.get(), at=AT)
    run = ImportRun.objects.get()
    assert (run.status, run.error, run.rows_stored) == ("succeeded", "", 5)
