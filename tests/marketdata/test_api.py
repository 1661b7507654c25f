"""Instruments, bars and imports over the API."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from alphastrat.core import jobs
from alphastrat.core.models import Job
from alphastrat.marketdata.models import CorporateAction, ImportRun, QualityFinding, QuarantinedRow
from tests.factories import (
    bearer,
    day,
    make_import,
    make_instrument,
    make_series,
    make_token,
    make_user,
    signed_in,
)

pytestmark = pytest.mark.django_db
INSTRUMENTS, IMPORTS = "/api/v1/instruments", "/api/v1/imports"
ROWS = b"symbol,date,open,high,low,close,volume\nAAPL,2018-01-03,10,12,9,11,1000\n"


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch):
    monkeypatch.setattr(jobs, "async_task", lambda *_args, **_kwargs: None)


@pytest.fixture
def browser(alice):
    return signed_in(alice)


def upload(client: Client, content: bytes = ROWS, **fields: str):
    file = SimpleUploadedFile("bars.csv", content)
    return client.post(IMPORTS, {"file": file, **fields})


def test_nobody_reads_market_data_without_signing_in():
    for path in (INSTRUMENTS, f"{INSTRUMENTS}/AAPL/bars", IMPORTS):
        assert Client().get(path).status_code == 401


def test_instruments_are_listed_by_symbol_and_found_by_name(browser):
    make_instrument("MSFT", name="Microsoft", sector="Technology")
    make_instrument("AAPL", name="Apple", sector="Technology")
    make_instrument("EURUSD", asset_class="fx", exchange="24/5")
    make_instrument("GONE", is_active=False)

    def symbols(query: str = "") -> list[str]:
        return [one["symbol"] for one in browser.get(INSTRUMENTS + query).json()["items"]]

    assert symbols() == ["AAPL", "EURUSD", "MSFT"]
    assert symbols("?q=micro") == ["MSFT"]
    assert symbols("?sector=Technology") == ["AAPL", "MSFT"]
    assert symbols("?asset_class=fx") == ["EURUSD"]


def test_an_instrument_comes_with_its_series(browser):
    series = make_series(closes=[10.0, 11.0, 12.0])
    answer = browser.get(f"{INSTRUMENTS}/AAPL").json()
    (shown,) = answer["series"]
    assert (shown["id"], shown["bar_count"], shown["timeframe"]) == (str(series.pk), 3, "1d")
    assert shown["last_closed_at"] == "2018-01-04T21:00:00Z"


def test_bars_come_as_columns_oldest_first(browser):
    make_series(closes=[10.0, 11.0, 12.0])
    answer = browser.get(f"{INSTRUMENTS}/AAPL/bars").json()
    assert answer["close"] == [10.0, 11.0, 12.0]
    assert answer["closed_at"][0] == "2018-01-02T21:00:00Z"
    newest = browser.get(f"{INSTRUMENTS}/AAPL/bars?limit=1").json()
    assert newest["close"] == [12.0]
    middle = "start=2018-01-03T00:00:00Z&end=2018-01-03T21:00:00Z"
    assert browser.get(f"{INSTRUMENTS}/AAPL/bars?{middle}").json()["close"] == [11.0]


@pytest.mark.parametrize(
    "start", ["2018-01-04", "2018-01-04T00:00:00", "2018-01-04T01:00:00+01:00"]
)
def test_a_day_and_a_time_without_a_zone_are_meant_in_utc(browser, start):
    make_series(closes=[10.0, 11.0, 12.0])
    answer = browser.get(f"{INSTRUMENTS}/AAPL/bars", {"start": start})
    assert answer.json()["close"] == [12.0]


def test_bars_may_be_asked_for_in_a_larger_timeframe_but_not_in_a_smaller_one(browser):
    make_series(closes=[float(close) for close in range(10, 24)])
    weeks = browser.get(f"{INSTRUMENTS}/AAPL/bars?timeframe=1w").json()
    assert weeks["closed_at"][-1] == "2018-01-19T21:00:00Z"
    refused = browser.get(f"{INSTRUMENTS}/AAPL/bars?timeframe=5m")
    assert refused.status_code == 422
    assert refused.json()["detail"] == "AAPL has no bars of 5m or finer."


def test_raw_bars_take_the_split_back(browser):
    series = make_series(closes=[50.0, 50.0, 50.0])
    CorporateAction.objects.create(
        instrument=series.instrument,
        kind="split",
        ex_date=day("2018-01-04").date(),
        split_ratio=2,
        source="test",
    )
    raw = browser.get(f"{INSTRUMENTS}/AAPL/bars?adjustment=raw").json()
    assert raw["close"] == [100.0, 100.0, 50.0]


def test_unchanged_bars_are_answered_with_304(browser):
    series = make_series(closes=[10.0, 11.0])
    first = browser.get(f"{INSTRUMENTS}/AAPL/bars")
    headers = {"If-None-Match": first["ETag"]}
    assert browser.get(f"{INSTRUMENTS}/AAPL/bars", headers=headers).status_code == 304
    assert browser.get(f"{INSTRUMENTS}/AAPL/bars?limit=1", headers=headers).status_code == 200
    series.revision += 1
    series.save()
    assert browser.get(f"{INSTRUMENTS}/AAPL/bars", headers=headers).status_code == 200


def test_a_recorded_split_changes_the_tag_of_adjusted_bars(browser):
    series = make_series(closes=[50.0, 50.0, 50.0])
    path = f"{INSTRUMENTS}/AAPL/bars?adjustment=raw"
    headers = {"If-None-Match": browser.get(path)["ETag"]}
    CorporateAction.objects.create(
        instrument=series.instrument,
        kind="split",
        ex_date=day("2018-01-04").date(),
        split_ratio=2,
        source="test",
    )
    assert browser.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["", "/bars", "/findings"])
def test_an_unknown_symbol_is_not_found(browser, path):
    assert browser.get(f"{INSTRUMENTS}/NOPE{path}").status_code == 404


def test_open_findings_are_listed_and_resolved_ones_are_not(browser):
    series = make_series(closes=[10.0, 11.0, 12.0])
    for number, resolved_at in enumerate([None, day("2018-02-01")]):
        QualityFinding.objects.create(
            series=series,
            kind="gap",
            start_at=day(f"2018-01-0{number + 2}"),
            end_at=day(f"2018-01-0{number + 3}"),
            detail="One bar is missing.",
            found_at=day("2018-02-01"),
            resolved_at=resolved_at,
        )
    (finding,) = browser.get(f"{INSTRUMENTS}/AAPL/findings").json()["items"]
    assert (finding["kind"], finding["timeframe"], finding["source"]) == ("gap", "1d", "test")


def test_an_import_is_accepted_and_leads_to_its_job(browser, alice):
    answer = upload(browser, timeframe="1d", source="mine", symbol="")
    assert answer.status_code == 202
    run, job = ImportRun.objects.get(), Job.objects.get()
    body = answer.json()
    assert (body["id"], body["status"], body["job"]["id"]) == (str(run.pk), "queued", str(job.pk))
    assert (run.owner, run.source, run.file_name) == (alice, "mine", "bars.csv")
    assert browser.get(f"{IMPORTS}/{run.pk}").json()["id"] == str(run.pk)


@pytest.mark.parametrize(
    ("content", "fields", "named"),
    [
        (ROWS, {"timeframe": "2d"}, "timeframe"),
        (ROWS, {"exchange": "MOON"}, "exchange"),
        (ROWS, {"source": "massive"}, "source"),
        (ROWS, {"zone": "Mars/Olympus"}, "zone"),
        (ROWS, {"currency": "dollars"}, "currency"),
        (b"", {}, "file"),
    ],
)
def test_an_import_that_cannot_work_names_the_field(browser, content, fields, named):
    answer = upload(browser, content, **fields)
    assert answer.status_code == 422
    assert named in answer.json()["fields"]
    assert not ImportRun.objects.exists()


def test_who_may_only_look_imports_nothing(alice):
    viewer = signed_in(make_user("vera", role="viewer"))
    assert upload(viewer).status_code == 403
    _, secret = make_token(alice, scope="read")
    file = SimpleUploadedFile("bars.csv", ROWS)
    assert Client().post(IMPORTS, {"file": file}, headers=bearer(secret)).status_code == 403
    assert not ImportRun.objects.exists()


def test_imports_of_others_are_not_found_and_an_administrator_sees_all(browser, alice):
    mine, other = make_import(alice), make_import(make_user("bob"))
    assert [one["id"] for one in browser.get(IMPORTS).json()["items"]] == [str(mine.pk)]
    for path in (f"{other.pk}", f"{other.pk}/quarantined", f"{uuid4()}"):
        assert browser.get(f"{IMPORTS}/{path}").status_code == 404
    admin = signed_in(make_user("ada", role="admin"))
    assert len(admin.get(IMPORTS).json()["items"]) == 2
    assert admin.get(f"{IMPORTS}/{other.pk}").status_code == 200


def test_held_back_rows_are_listed_with_their_reason(browser, alice):
    run = make_import(alice, status="succeeded", rows_quarantined=1)
    QuarantinedRow.objects.create(
        import_run=run,
        row_number=7,
        symbol="AAPL",
        values={"high": 8.0, "low": 9.0},
        reason="high_below_low",
        detail="high 8 is below low 9.",
    )
    (row,) = browser.get(f"{IMPORTS}/{run.pk}/quarantined").json()["items"]
    assert (row["row_number"], row["reason"], row["values"]["high"]) == (7, "high_below_low", 8.0)


@pytest.mark.parametrize("path", [INSTRUMENTS, IMPORTS])
def test_a_list_costs_the_same_queries_for_2_and_20_rows(
    browser, alice, path, django_assert_max_num_queries
):
    counts = []
    for n_rows in (2, 18):
        for number in range(n_rows):
            make_series(make_instrument(f"S{n_rows}N{number}"), closes=[10.0, 11.0])
            make_import(alice)
        browser.get(path)
        with django_assert_max_num_queries(50) as counted:
            assert len(browser.get(path).json()["items"]) == (2 if n_rows == 2 else 20)
        counts.append(len(counted.captured_queries))
    assert counts[0] == counts[1]
