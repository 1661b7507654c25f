"""Pages of instruments and imports: what they show, to whom, and what they cost."""

from __future__ import annotations

import csv
import io
import json
from uuid import UUID

import pandas as pd
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils.timezone import now

from alphastrat.core.errors import InvalidInput
from alphastrat.core.models import Job
from alphastrat.marketdata.models import (
    BarRevision,
    CorporateAction,
    ImportRun,
    QualityFinding,
    QuarantinedRow,
)
from alphastrat.marketdata.tasks import import_file
from tests.factories import (
    day,
    make_import,
    make_instrument,
    make_job,
    make_series,
    make_user,
    signed_in,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
HEADING = "symbol,date,open,high,low,close,volume\n"
GOOD = HEADING + "AAPL,2018-01-03,10,12,9,11,1000\nAAPL,2018-01-04,11,12,9,10,900\n"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def browser(alice):
    return signed_in(alice)


def form(content: str | bytes = GOOD, name: str = "bars.csv", **changes: str):
    body = content.encode() if isinstance(content, str) else content
    return {
        "file": SimpleUploadedFile(name, body),
        "timeframe": "1d",
        "symbol": "",
        "exchange": "XNYS",
        "asset_class": "equity",
        "currency": "USD",
        "adjustment": "split",
        "zone": "",
        "source": "mine",
        **changes,
    }


class Progress:
    """A job's voice that nobody hears."""

    def update(self, *_args, **_kwargs) -> None: ...


def carry_out(run: ImportRun) -> ImportRun:
    """Do what the worker does with an import."""
    try:
        import_file(Progress(), import_run_id=str(run.pk))
    finally:
        Job.objects.filter(pk=run.job_id).update(status="succeeded", finished_at=now())
        run.refresh_from_db()
    return run


# --- Instruments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/instruments/", "/instruments/AAPL/", "/imports/", f"/imports/{UUID(int=1)}/"]
)
def test_nobody_sees_market_data_without_signing_in(path):
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer.url.startswith("/login/")


def test_instruments_show_their_newest_close_and_change(browser):
    make_series(make_instrument("AAPL", name="Apple"), closes=[100.0, 110.0])
    page = browser.get("/instruments/").content.decode()
    assert "Apple" in page
    assert "110.00" in page
    assert "+10.0" in page


def test_the_filter_answers_with_the_fragment_alone(browser):
    make_instrument("AAPL", name="Apple")
    make_instrument("MSFT", name="Microsoft")
    page = browser.get("/instruments/?q=micro", headers=HTMX).content.decode()
    assert "<html" not in page
    assert "MSFT" in page
    assert "AAPL" not in page
    assert "No instrument matches" in browser.get("/instruments/?q=zzz").content.decode()


@pytest.mark.parametrize("query", ["?sort=-n_findings", "?sort=nonsense", "?page=99", "?page=x"])
def test_a_query_that_makes_no_sense_harms_nothing(browser, query):
    make_series(closes=[100.0, 110.0])
    assert browser.get(f"/instruments/{query}").status_code == 200


def test_an_instrument_shows_its_bars_series_actions_findings_and_restatements(browser):
    series = make_series(closes=[100.0, 110.0, 120.0])
    instrument = series.instrument
    CorporateAction.objects.create(
        instrument=instrument,
        kind="split",
        ex_date=day("2018-01-03").date(),
        split_ratio=7,
        source="by hand",
    )
    QualityFinding.objects.create(
        series=series,
        kind="gap",
        start_at=day("2018-01-03"),
        end_at=day("2018-01-04"),
        detail="1 bar is missing from the XNYS calendar.",
        found_at=day("2018-01-05"),
    )
    BarRevision.objects.create(
        series=series,
        opened_at=day("2018-01-03"),
        old_values={"close": 109.0, "volume": 5.0},
        new_values={"close": 110.0, "volume": 5.0},
        recorded_at=day("2018-01-05"),
    )
    page = browser.get("/instruments/AAPL/").content.decode()
    for text in (
        "120.00",
        "by hand",
        "1 bar is missing from the XNYS calendar.",
        "close 109 → 110",
        "AAPL moved +20.0% over 3 bars",
    ):
        assert text in page, text


def test_an_instrument_without_bars_says_how_to_get_some(browser):
    make_instrument("NEW")
    page = browser.get("/instruments/NEW/").content.decode()
    assert "No bars yet" in page
    assert 'href="/imports/"' in page
    chart = browser.get("/instruments/NEW/chart.json")
    assert chart.status_code == 404


@pytest.mark.parametrize("path", ["/instruments/NOPE/", "/instruments/NOPE/chart.json"])
def test_an_unknown_symbol_is_not_found(browser, path):
    assert browser.get(path).status_code == 404


@pytest.mark.parametrize(
    "query", ["?timeframe=1w", "?timeframe=5m", "?adjustment=raw", "?range=All", "?range=9Y"]
)
def test_every_view_of_an_instrument_answers(browser, query):
    make_series(closes=[float(n) for n in range(100, 140)])
    assert browser.get(f"/instruments/AAPL/{query}").status_code == 200
    figure = browser.get(f"/instruments/AAPL/chart.json{query}").json()
    assert [trace["type"] for trace in figure["data"]] == ["candlestick", "bar"]


def test_the_chart_leaves_out_days_without_a_session(browser):
    make_series(first="2018-01-10", closes=[10.0] * 6)  # over Martin Luther King Day
    breaks = browser.get("/instruments/AAPL/chart.json").json()["layout"]["xaxis"]["rangebreaks"]
    assert {"bounds": ["sat", "mon"]} in breaks
    assert {"values": ["2018-01-15"]} in breaks


def read(answer, form: str) -> list[dict]:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    if form == "csv":
        return list(csv.DictReader(io.StringIO(body.decode())))
    if form == "json":
        return json.loads(body)
    return pd.read_parquet(io.BytesIO(body)).to_dict("records")


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_tables_can_be_taken_along(browser, alice, form):
    make_series(closes=[100.5, 110.25])
    instruments = browser.get(f"/instruments/?format={form}")
    assert f'filename="instruments.{form}"' in instruments["Content-Disposition"]
    assert float(read(instruments, form)[0]["close"]) == 110.25
    bars = read(browser.get(f"/instruments/AAPL/?format={form}"), form)
    assert [float(bar["close"]) for bar in bars] == [100.5, 110.25]
    run = make_import(alice, status="succeeded", rows_read=5)
    assert int(read(browser.get(f"/imports/?format={form}"), form)[0]["rows_read"]) == 5
    QuarantinedRow.objects.create(
        import_run=run, row_number=3, reason="no_volume", detail="volume is 0.", values={"open": 1}
    )
    rows = read(browser.get(f"/imports/{run.pk}/?format={form}"), form)
    assert (int(rows[0]["row_number"]), rows[0]["reason"]) == (3, "no_volume")


def test_an_unknown_export_format_is_refused(browser):
    assert browser.get("/instruments/?format=xlsx").status_code == 422


# --- Imports -------------------------------------------------------------------------------------


def test_an_upload_makes_an_import_and_its_job_and_leads_there(browser, alice, sent):
    answer = browser.post("/imports/", form(symbol=" msft "))
    run, job = ImportRun.objects.get(), Job.objects.get()
    assert (answer.status_code, answer.url) == (302, f"/imports/{run.pk}/")
    assert (run.owner, run.job, run.status, run.file_name) == (alice, job, "queued", "bars.csv")
    assert run.options["symbol"] == "MSFT"
    page = browser.get(answer.url).content.decode()
    assert "Queued" in page


def test_htmx_is_sent_to_the_import_by_a_header(browser):
    answer = browser.post("/imports/", form(), headers=HTMX)
    assert answer.status_code == 200
    assert answer["HX-Redirect"] == f"/imports/{ImportRun.objects.get().pk}/"


def test_an_import_shows_what_became_of_its_rows(browser):
    faulty = GOOD + "AAPL,2018-01-05,10,8,9,8.5,1000\nAAPL,2018-01-06,10,12,9,11,1000\n"
    browser.post("/imports/", form(faulty))
    run = carry_out(ImportRun.objects.get())
    page = browser.get(f"/imports/{run.pk}/").content.decode()
    for text in (
        "high 8 is below low 9.",
        "The high is below the low.",
        'href="/instruments/AAPL/"',
        "the exchange has no bar of Saturday 6 January 2018.",
    ):
        assert text in page, text
    assert run.rows_stored == 2


def test_the_same_file_again_is_said_to_be_unchanged(browser):
    for _ in range(2):
        browser.post("/imports/", form())
        run = carry_out(ImportRun.objects.latest("requested_at"))
    assert (run.rows_stored, run.rows_unchanged) == (0, 2)
    assert "Every row was stored before" in browser.get(f"/imports/{run.pk}/").content.decode()


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            GOOD.replace("close", "value"),
            "The file has no column for close. It has: symbol, date, open, high, low, value,",
        ),
        (
            GOOD.replace("symbol", "what"),
            "it has no symbol column. Give the symbol the file is about, or add a symbol column.",
        ),
        (b"PK\x03\x04\x14\x00", "The file is neither CSV nor Parquet. Save it as CSV or Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_at_once_and_not_kept(
    browser, settings, tmp_path, headers, content, said
):
    settings.UPLOAD_DIR = tmp_path
    answer = browser.post("/imports/", form(content), headers=headers)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not ImportRun.objects.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "AAPL,2018-01-03,10,9,12,11,1000\n",
            [
                "The only row cannot be used; nothing was stored.",
                "All for one reason: the high is below the low.",
                "high 9 is below low 12.",
            ],
        ),
        (
            "AAPL,2018-01-03,ten,12,9,11,1000\nAAPL,2018-01-04,,12,9,eleven,1000\n",
            [
                "None of the 2 rows can be used; nothing was stored.",
                "no number: open is &#x27;ten&#x27;.",
                "no number: close is &#x27;eleven&#x27;.",
            ],
        ),
    ],
)
def test_a_file_without_a_usable_row_is_answered_on_the_page_of_its_import(browser, content, said):
    browser.post("/imports/", form(HEADING + content))
    run = ImportRun.objects.get()
    with pytest.raises(InvalidInput):
        carry_out(run)
    run.refresh_from_db()
    assert run.status == "failed"
    page = browser.get(f"/imports/{run.pk}/").content.decode()
    for text in said:
        assert text in page, text


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": ""}, "This field is required."),
        ({"content": ""}, "The submitted file is empty."),
        ({"timeframe": "2d"}, "2d is not one of the available choices"),
        ({"exchange": "MOON"}, "MOON is not one of the available choices"),
        ({"currency": "dollars"}, "A currency has three letters, such as USD."),
        ({"source": "massive"}, "is the name of a provider; choose another."),
        ({"source": "my file!"}, "Use letters, digits, dots, dashes and underscores."),
        ({"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"symbol": "a b c!" + "x" * 60}, "at most 40 characters"),
    ],
)
def test_a_mistake_is_answered_with_422_beside_its_field(browser, headers, changes, said):
    answer = browser.post("/imports/", form(**changes), headers=headers)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert said in page
    assert ("<html" in page) is not bool(headers)
    assert not ImportRun.objects.exists()


def test_a_file_that_is_too_large_is_refused_and_not_kept(browser, settings, tmp_path):
    settings.IMPORT_MAX_BYTES, settings.UPLOAD_DIR = 10, tmp_path
    answer = browser.post("/imports/", form())
    assert answer.status_code == 422
    assert "The file is larger than" in answer.content.decode()
    assert list(tmp_path.iterdir()) == []


def test_who_may_only_look_is_offered_no_upload_and_refused_one():
    viewer = signed_in(make_user("vera", role="viewer"))
    page = viewer.get("/imports/")
    assert page.status_code == 200
    assert b'type="file"' not in page.content
    assert viewer.post("/imports/", form()).status_code == 403
    assert not ImportRun.objects.exists()


def test_imports_of_others_are_not_found(alice):
    run = make_import(alice, file_name="secret.csv")
    charlie = signed_in(make_user("charlie"))
    assert charlie.get(f"/imports/{run.pk}/").status_code == 404
    assert charlie.get(f"/imports/{run.pk}/?format=csv").status_code == 404
    assert "secret.csv" not in charlie.get("/imports/").content.decode()
    admin = signed_in(make_user("ada", role="admin"))
    assert admin.get(f"/imports/{run.pk}/").status_code == 200
    assert "secret.csv" in admin.get("/imports/").content.decode()


def test_a_running_import_shows_its_progress(browser, alice):
    job = make_job(alice, status="running", started_at=now(), heartbeat_at=now())
    run = make_import(alice, job=job, status="running", started_at=now())
    page = browser.get(f"/imports/{run.pk}/").content.decode()
    assert str(job.pk) in page


def test_an_import_that_has_ended_shows_the_whole_page_to_the_job_that_asks(browser, alice):
    job = make_job(alice, status="running", started_at=now(), heartbeat_at=now())
    run = make_import(alice, job=job, status="running", started_at=now())
    asks = {**HTMX, "HX-Target": f"job-{job.pk}"}
    answer = browser.get(f"/imports/{run.pk}/", headers=asks)
    assert answer.content.decode().startswith("<article")
    Job.objects.filter(pk=job.pk).update(status="failed", finished_at=now())
    assert browser.get(f"/imports/{run.pk}/", headers=asks)["HX-Refresh"] == "true"


# --- Cost ----------------------------------------------------------------------------------------


def n_queries(browser, path, counter) -> int:
    browser.get(path)  # arrays that are derived at the first look
    with counter(60) as counted:
        assert browser.get(path).status_code == 200
    return len(counted.captured_queries)


@pytest.mark.parametrize(
    ("path", "most"),
    # session, user, live heads; sectors; count, instruments, series; closes
    [("/instruments/", 8), ("/imports/", 6)],
)
def test_a_list_costs_the_same_queries_for_2_and_20_rows(
    browser, alice, path, most, django_assert_max_num_queries
):
    counts = []
    for n_rows in (2, 18):
        for number in range(n_rows):
            make_series(make_instrument(f"S{n_rows}N{number}"), closes=[10.0, 11.0])
            make_import(alice, job=make_job(alice, status="succeeded"))
        counts.append(n_queries(browser, path, django_assert_max_num_queries))
    assert counts[0] == counts[1]
    assert counts[0] <= most


def test_an_instrument_costs_the_same_queries_whatever_is_known_of_it(
    browser, django_assert_max_num_queries
):
    series = make_series(closes=[float(n) for n in range(100, 140)])
    counts = []
    for n_rows in (2, 20):
        for number in range(n_rows):
            at = day(f"20{n_rows:02}-01-{number + 1:02}")
            QualityFinding.objects.create(
                series=series, kind="gap", start_at=at, end_at=at, detail="x", found_at=at
            )
            BarRevision.objects.create(
                series=series, opened_at=at, old_values={}, new_values={}, recorded_at=at
            )
        counts.append(n_queries(browser, "/instruments/AAPL/", django_assert_max_num_queries))
    assert counts[0] == counts[1]


def test_an_import_costs_the_same_queries_for_2_and_20_held_back_rows(
    browser, alice, django_assert_max_num_queries
):
    series = make_series(closes=[10.0, 11.0])
    run = make_import(alice, status="succeeded", job=make_job(alice, status="succeeded"))
    run.series.add(series)
    counts = []
    for n_rows in (2, 20):
        for number in range(n_rows):
            at = day(f"20{n_rows:02}-01-{number + 1:02}")
            QuarantinedRow.objects.create(
                import_run=run, row_number=n_rows * 100 + number, reason="no_volume", detail="x"
            )
            QualityFinding.objects.create(
                series=series, kind="suspected_split", start_at=at, end_at=at, found_at=at
            )
        counts.append(n_queries(browser, f"/imports/{run.pk}/", django_assert_max_num_queries))
    assert counts[0] == counts[1]
