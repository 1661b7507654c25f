"""A backfill from the command line and as a job, over the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from alphastrat.core import jobs
from alphastrat.core.models import Job
from alphastrat.marketdata.models import Bar, CorporateAction, ImportRun
from alphastrat.marketdata.services import backfill as backfills
from alphastrat.marketdata.services.backfill import BackfillPlan, request_backfill
from alphastrat.quant.types import Timeframe
from tests.marketdata.providers.vendor_server import Answer, Asked, VendorServer

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = (2, 3, 4, 5)
START, END = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 6, tzinfo=UTC)
KEY = "k3y-hunter2"


def vendor_answer(asked: Asked) -> Answer:
    """Know AAPL and MSFT, with one split; refuse everything else."""
    if "splits" in asked.path:
        split = {"execution_date": "2024-01-04", "split_from": 1, "split_to": 2}
        return Answer({"results": [split] if asked.query["ticker"] == ["AAPL"] else []})
    if "dividends" in asked.path:
        return Answer({"results": []})
    if "/AAPL/" not in asked.path and "/MSFT/" not in asked.path:
        return Answer({"status": "NOT_FOUND"}, status=404)
    stamps = [int(datetime(2024, 1, day, 5, tzinfo=UTC).timestamp() * 1000) for day in DAYS]
    values = {"o": 100.0, "h": 102.0, "l": 99.0, "c": 101.0, "v": 1e6}
    return Answer({"results": [{"t": t, **values} for t in stamps], "resultsCount": len(DAYS)})


@pytest.fixture(autouse=True)
def only_massive(vendor: VendorServer, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor.otherwise = vendor_answer
    settings.MASSIVE_BASE_URL = vendor.url
    settings.MASSIVE_API_KEY = KEY
    settings.MASSIVE_CALLS_PER_MINUTE = 0
    settings.MARKET_DATA_PROVIDERS = ["massive"]
    # What goes to the broker is delivered by hand.
    monkeypatch.setattr(jobs, "async_task", lambda *_args, **_options: None)


def backfill_bars(*arguments: str) -> dict[str, Any]:
    output = StringIO()
    call_command(
        "backfill_bars",
        *arguments,
        "--start=2024-01-02",
        "--end=2024-01-06",
        "--json",
        stdout=output,
    )
    return json.loads(output.getvalue())


def test_the_command_stores_bars_and_corporate_actions_and_says_how_many() -> None:
    result = backfill_bars("AAPL", "MSFT")
    assert result["rows_stored"] == Bar.objects.count() == 2 * len(DAYS)
    assert result["sources"] == {"AAPL": "massive", "MSFT": "massive"}
    split = CorporateAction.objects.get()
    assert (split.instrument.symbol, split.split_ratio) == ("AAPL", 2.0)


def test_the_command_twice_adds_nothing() -> None:
    backfill_bars("AAPL")
    again = backfill_bars("AAPL")
    assert (again["rows_stored"], again["rows_restated"]) == (0, 0)
    assert Bar.objects.count() == len(DAYS)
    assert CorporateAction.objects.count() == 1


def test_an_unknown_symbol_fails_the_command_after_the_others_are_stored() -> None:
    with pytest.raises(CommandError, match="NOPE"):
        backfill_bars("NOPE", "MSFT")
    assert set(Bar.objects.values_list("series__instrument__symbol", flat=True)) == {"MSFT"}
    failed = ImportRun.objects.get(status="failed")
    assert "HTTP 404" in failed.error


def test_the_key_is_in_no_row_and_no_address(vendor: VendorServer) -> None:
    with pytest.raises(CommandError) as caught:
        backfill_bars("AAPL", "NOPE")
    assert KEY not in str(caught.value)
    for run in ImportRun.objects.all():
        assert KEY not in json.dumps([run.error, run.report, run.options])
    for asked in vendor.asked:
        assert KEY not in asked.path + json.dumps(asked.query)
        assert asked.headers["Authorization"] == f"Bearer {KEY}"


def plan(*symbols: str) -> BackfillPlan:
    return BackfillPlan(symbols, Timeframe.DAY_1, START, END)


def test_the_same_job_asked_for_twice_is_one_job() -> None:
    assert request_backfill(plan("AAPL")).pk == request_backfill(plan("AAPL")).pk
    assert request_backfill(plan("MSFT")).pk != request_backfill(plan("AAPL")).pk


def test_a_job_killed_between_symbols_goes_on_with_the_next(
    vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = request_backfill(plan("AAPL", "MSFT"))
    real = backfills._bring

    def killed_at_the_second(wanted: Any, listing: Any, *args: Any, **options: Any) -> Any:
        if listing.symbol == "MSFT":
            raise KeyboardInterrupt
        return real(wanted, listing, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(backfills, "_bring", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            jobs.run_job(str(job.pk))
    Job.objects.filter(pk=job.pk).update(status="queued", started_at=None)
    vendor.asked.clear()
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert (job.done, job.total) == (2, 2)
    assert job.result["sources"] == {"AAPL": "massive", "MSFT": "massive"}
    assert not [asked for asked in vendor.asked if "/AAPL/" in asked.path]
    assert Bar.objects.count() == 2 * len(DAYS)


def test_a_job_waits_for_a_vendor_that_is_down_and_keeps_what_came(
    vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphastrat.marketdata.providers.massive.MAX_BACKOFF_SECONDS", 0.0)
    is_down = [True]

    def answer(asked: Asked) -> Answer:
        down = is_down[0] and "/MSFT/" in asked.path
        return Answer({}, status=503) if down else vendor_answer(asked)

    vendor.otherwise = answer
    job = request_backfill(plan("AAPL", "MSFT"))
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, job.setbacks) == ("queued", 1)
    assert Bar.objects.count() == len(DAYS)
    is_down[0] = False
    Job.objects.filter(pk=job.pk).update(due_at=START)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert Bar.objects.count() == 2 * len(DAYS)
