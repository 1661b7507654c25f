"""Commands say how far they are, answer people and programs, and fail with a status."""

from __future__ import annotations

import json
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from alphastrat.core.terminal import TerminalProgress
from alphastrat.marketdata.frames import load_bars
from alphastrat.marketdata.models import Bar, BarBlock, BarSeries, ImportRun, Instrument
from alphastrat.marketdata.services import imports, ingestion
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.types import Timeframe
from tests.marketdata.builders import days, deliver, instant, minutes, rows, series_of

pytestmark = pytest.mark.django_db
HEADING = "date,open,high,low,close,volume,Name"


def run(name: str, *args: Any, **options: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *args, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines = [
        f"{day:%Y-%m-%d},10,11,9,10.5,1000,{symbol}"
        for symbol in ("AAA", "BBB")
        for day in days("2018-01-08", "2018-01-12")
    ]
    lines[3] = lines[3].replace(",11,", ",8,")
    path = tmp_path / "bars.csv"
    path.write_text("\n".join([HEADING, *lines]))
    return path


def test_import_bars_says_what_became_of_the_rows(file):
    out, err = run("import_bars", file)
    assert "10 rows read: 9 bars new, 0 unchanged, 0 restated, 1 rows quarantined." in out
    assert "1 high_below_low" in out
    assert "0 suspected splits and 1 gaps" in out
    assert "Reading and checking rows" in err
    assert "Storing bars" in err


def test_import_bars_answers_programs_in_json(file):
    answer = json.loads(run("import_bars", file, "--json")[0])
    assert (answer["status"], answer["stored"], answer["quarantined"]) == ("succeeded", 9, 1)
    assert answer["reasons"] == {"high_below_low": 1}
    assert len(answer["sha256"]) == 64
    assert ImportRun.objects.get().sha256 == answer["sha256"]


def test_import_bars_twice_adds_nothing(file):
    run("import_bars", file)
    assert json.loads(run("import_bars", file, "--json")[0])["unchanged"] == 9
    assert Bar.objects.count() == 9


def test_import_bars_takes_minutes_of_one_symbol_in_their_zone(tmp_path):
    path = tmp_path / "minutes.csv"
    path.write_text("time,o,h,l,c,v\n2018-01-08 09:30,1,2,1,2,5\n2018-01-08 09:35,2,2,1,1,5\n")
    run("import_bars", path, timeframe="5m", symbol="abc", source="mine")
    assert series_of("ABC").timeframe == "5m"
    assert [bar.opened_at for bar in Bar.objects.order_by("opened_at")] == [
        instant("2018-01-08T14:30"),
        instant("2018-01-08T14:35"),
    ]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("nonsense", {}, "no column for"),
        (f"{HEADING}\n2018-01-07,10,11,9,10,5,AAA", {}, "be used; nothing was stored"),
        (f"{HEADING}\n", {"exchange": "XXXX"}, "unknown exchange calendar"),
        (f"{HEADING}\n", {"zone": "Mars/Base"}, "Mars/Base"),
    ],
)
def test_import_bars_fails_with_the_reason(tmp_path, content, options, said):
    path = tmp_path / "wrong.csv"
    path.write_text(content)
    with pytest.raises(CommandError, match=said):
        run("import_bars", path, **options)
    assert not Bar.objects.exists()


def test_import_bars_of_no_file_fails():
    with pytest.raises(CommandError, match="There is no file"):
        run("import_bars", "/nowhere/bars.csv")


def test_a_failed_import_is_on_record_in_json_too(tmp_path, capsys):
    path = tmp_path / "wrong.csv"
    path.write_text("nonsense")
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("import_bars", path, "--json", stdout=out, stderr=StringIO())
    answer = json.loads(out.getvalue())
    assert answer["status"] == "failed"
    assert "no column" in answer["error"]
    assert ImportRun.objects.get().status == "failed"


def test_an_import_that_was_broken_off_is_taken_up_again(file, monkeypatch):
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(imports, "ingest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("import_bars", file)
    assert ImportRun.objects.get().status == "running"
    run("import_bars", file)
    assert ImportRun.objects.get().status == "succeeded"


def test_check_bars_lists_what_stands_and_fails_only_when_strict():
    deliver(rows(days("2018-01-08", "2018-01-12").delete(1)))
    out, err = run("check_bars")
    assert "AAA" in out
    assert "1 series with 4 bars on 4 days: 1 gaps, 0 suspected splits." in out
    assert "1 of 1 series" in err
    with pytest.raises(CommandError, match="1 findings stand"):
        run("check_bars", "--strict")
    answer = json.loads(run("check_bars", "aaa", "--json")[0])
    assert answer["summary"] == {"n_series": 1, "n_gaps": 1, "n_suspected_splits": 0}
    assert answer["coverage"] == {"n_days": 4, "n_bars": 4}
    assert answer["findings"][0]["start_at"] == "2018-01-09T14:30:00Z"


def test_check_bars_repairs_arrays_that_do_not_fit_their_rows():
    deliver(rows(days("2018-01-08", "2018-01-12")))
    load_bars(series_of())
    BarBlock.objects.update(close=bytes(40))
    run("check_bars")
    assert load_bars(series_of())["close"].iloc[0] == 100.0


@pytest.mark.parametrize("options", [{"timeframe": "5m"}, {"source": "none"}])
def test_check_bars_of_nothing_fails(options):
    deliver(rows(days("2018-01-08", "2018-01-12")))
    with pytest.raises(CommandError, match="no such bars"):
        run("check_bars", **options)
    with pytest.raises(CommandError, match="no bars of ZZZ"):
        run("check_bars", "ZZZ")


def test_the_sample_market_loads_once_with_real_names():
    out, _ = run("load_sample_market")
    assert "41,547 bars" in out
    assert Instrument.objects.count() == BarSeries.objects.count() == 33
    assert not Instrument.objects.filter(sector="").exists()
    assert Instrument.objects.values("sector").distinct().count() == 11
    assert ImportRun.objects.get().rows_quarantined == 0
    bars = load_bars(series_of("AAPL"))
    assert (len(bars), str(bars.index[0].date())) == (1259, "2013-02-08")
    with CaptureQueriesContext(connection) as captured:
        out, _ = run("load_sample_market")
    assert "is loaded" in out
    assert len(captured) == 1
    assert Bar.objects.count() == 41_547


def test_a_sample_market_that_was_cut_off_is_loaded_to_the_end(monkeypatch):
    def kill(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ingestion, "_finish", kill)
        with pytest.raises(KeyboardInterrupt):
            run("load_sample_market")
    assert not Bar.objects.exists()
    run("load_sample_market")
    assert Bar.objects.count() == 41_547
    assert ImportRun.objects.get().status == "succeeded"


def test_prune_bars_forgets_old_minutes_and_keeps_days():
    five = Target(Timeframe.MINUTE_5, "file")
    deliver(rows(days("2018-01-08", "2018-01-12")))
    deliver(rows(minutes("2018-01-08T00:00", "2018-01-10T23:00"), symbols=("MIN",)), target=five)
    load_bars(series_of("MIN"))
    kept_days = (now() - instant("2018-01-10T00:00")).days + 1
    answer = json.loads(run("prune_bars", "--json", days=kept_days)[0])
    before = datetime.fromisoformat(answer["before"])
    assert before < instant("2018-01-10T14:30")
    series = series_of("MIN")
    assert answer["deleted"] == 234 - series.bar_count > 0
    left = load_bars(series)
    assert len(left) == series.bar_count
    assert left.index[0] >= pd.Timestamp(before)
    assert (
        series.first_opened_at == Bar.objects.filter(series=series).earliest("opened_at").opened_at
    )
    assert series_of("AAA").bar_count == 5


def test_prune_bars_can_forget_all_of_a_series():
    five = Target(Timeframe.MINUTE_5, "file")
    deliver(rows(minutes("2018-01-08T00:00", "2018-01-08T23:00")), target=five)
    run("prune_bars", days=1)
    series = series_of()
    assert (series.bar_count, series.first_opened_at, series.last_closed_at) == (0, None, None)
    assert run("prune_bars", days=1)[0].startswith("0 ")


def test_prune_bars_without_a_setting_keeps_everything(settings):
    settings.INTRADAY_RETENTION_DAYS = 0
    with pytest.raises(CommandError, match="kept for ever"):
        run("prune_bars")


def test_progress_is_drawn_over_on_a_terminal_and_listed_elsewhere():
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    from django.core.management.base import OutputWrapper

    drawn = {}
    for stream in (StringIO(), Terminal()):
        progress = TerminalProgress(OutputWrapper(stream), total=200, unit="rows")
        progress.update(50, "Reading")
        progress.update(200, "Storing")
        progress.close()
        drawn[type(stream)] = stream.getvalue()
    assert drawn[StringIO].splitlines()[0].startswith("Reading: 50 of 200 rows, 25%")
    assert drawn[Terminal].count("\r") == 2
    assert drawn[Terminal].endswith("\n")
