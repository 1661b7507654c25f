"""Results of other tools: looked at first, stored once, shown as what they are."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from alphastrat.core.errors import InvalidInput
from strategies.models import BacktestRun
from strategies.services import foreign_imports
from strategies.services.foreign_imports import import_results
from tests.factories import bearer, make_token, make_user, signed_in

pytestmark = pytest.mark.django_db
FILES = Path(__file__).resolve().parents[1] / "data" / "foreign"
NAMES = sorted(path.name for path in FILES.iterdir())
URL = "/backtests/import/"


@pytest.fixture
def browser(alice, settings, tmp_path):
    settings.UPLOAD_DIR = tmp_path
    return signed_in(alice)


def upload(name: str, content: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, (FILES / name).read_bytes() if content is None else content)


def imported(owner, name: str) -> BacktestRun:
    stored = import_results(owner, (FILES / name).read_bytes(), file_name=name, at=now())
    return stored[0].run


def confirm(browser, preview):
    page = preview.content.decode()
    digest = page.split('name="confirm" value="')[1].split('"')[0]
    return browser.post(URL, {"confirm": digest, "file_name": "mine", "capital": ""})


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_looked_at_and_then_stored(browser, name):
    preview = browser.post(URL, {"file": upload(name)})
    assert preview.status_code == 200
    assert "Nothing is stored yet." in preview.content.decode()
    assert not BacktestRun.objects.exists()
    answer = confirm(browser, preview)
    assert answer.status_code == 302
    run = BacktestRun.objects.last()
    assert run.engine == "imported"
    page = browser.get(run.get_absolute_url())
    assert page.status_code == 200
    text = page.content.decode()
    assert "Imported" in text
    assert "Second engine" not in text
    assert "Run again" not in text
    for chart in ("equity", "underwater", "monthly", "distribution", "excursions"):
        assert browser.get(f"{run.get_absolute_url()}charts/{chart}/").status_code == 200
    assert browser.get(f"{run.get_absolute_url()}trades/").status_code == 200
    assert browser.get(f"{run.get_absolute_url()}trades/?format=json").status_code == 200
    assert browser.get(f"/api/v1/backtests/{run.pk}/trades").status_code == 200
    detail = browser.get(f"/api/v1/backtests/{run.pk}").json()
    assert detail["engine"] == "imported"
    assert browser.get(f"/api/v1/backtests/{run.pk}/equity").status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_the_same_file_twice_adds_nothing(alice, name):
    first = import_results(alice, (FILES / name).read_bytes(), file_name=name, at=now())
    count = BacktestRun.objects.count()
    again = import_results(alice, (FILES / name).read_bytes(), file_name="copy", at=now())
    assert BacktestRun.objects.count() == count == len(first)
    assert all(one.is_new for one in first)
    assert [one.run.pk for one in again] == [one.run.pk for one in first]
    assert not any(one.is_new for one in again)


def test_two_requests_at_once_store_one_run(alice, monkeypatch):
    content = (FILES / "pyfolio_returns.csv").read_bytes()
    found = foreign_imports.preview_import(alice, content, file_name="x")
    imported(alice, "pyfolio_returns.csv")
    late = foreign_imports._store(alice, found.results[0], found=found, at=now())
    assert not late.is_new
    assert BacktestRun.objects.count() == 1


def test_another_person_may_import_the_same_file(alice, charlie):
    imported(alice, "pyfolio_returns.csv")
    assert imported(charlie, "pyfolio_returns.csv").owner == charlie
    assert BacktestRun.objects.count() == 2


def test_metrics_are_ours_and_what_the_file_lacks_is_undefined(alice):
    run = imported(alice, "pyfolio_returns.csv")
    assert float(run.total_return) == pytest.approx(1.01 * 0.98 * 1.005 * 1.015 - 1, abs=1e-6)
    assert float(run.max_drawdown) == pytest.approx(-0.02)
    assert run.win_rate is None
    assert run.n_trades is None
    assert run.exposure is None
    trades = imported(alice, "freqtrade_result.json")
    assert trades.n_trades == 2
    assert float(trades.win_rate) == 0.5
    assert float(trades.profit_factor) == pytest.approx(9.79 / 4.204, abs=1e-6)
    # Two of ten days from 2 January, three from 4 January.
    assert float(trades.exposure) == 0.5


def test_no_trade_is_none_where_the_file_lists_all_of_them(alice):
    imported(alice, "freqtrade_result.json")
    idle = BacktestRun.objects.get(title="Idle (freqtrade)")
    assert (idle.n_trades, float(idle.exposure)) == (0, 0.0)


def test_an_imported_run_says_that_nobody_knows_how_often_it_was_tried(browser, alice):
    run = imported(alice, "lean_result.json")
    evidence = browser.get(f"/api/v1/backtests/{run.pk}").json()["sharpe_evidence"]
    assert evidence["deflated"] is None
    assert evidence["n_trials"] is None
    assert evidence["probabilistic"] is not None


def test_a_zip_of_freqtrade_is_unpacked_in_memory(alice):
    packed = zipped({"backtest-result-1.json": None, "backtest-result-1_config.json": b"{}"})
    stored = import_results(alice, packed, file_name="backtest-result-1.zip", at=now())
    assert [one.run.title for one in stored] == ["Sample (freqtrade)", "Idle (freqtrade)"]


def zipped(members: dict[str, bytes | None]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(
                name,
                (FILES / "freqtrade_result.json").read_bytes() if content is None else content,
            )
    return sink.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty."),
        (b"PK\x03\x04nonsense", "cannot be opened"),
        (zipped({"a.txt": b"x"}), "0 results"),
        (zipped({"a.json": None, "b.json": None}), "2 results"),
        (zipped({f"{i}.txt": b"" for i in range(101)}), "101 files"),
        (b"a,b,c,d\n1,2,3,4\n", "none of the known ones"),
    ],
)
def test_a_wrong_file_is_answered_with_what_is_wrong_and_what_to_do(alice, content, said):
    with pytest.raises(InvalidInput, match=said) as refused:
        import_results(alice, content, file_name="x", at=now())
    assert "Choose a returns CSV" in refused.value.fields["file"]
    assert not BacktestRun.objects.exists()


def test_a_zip_that_unpacks_to_more_than_the_limit_is_refused(alice, monkeypatch):
    monkeypatch.setattr(foreign_imports, "MAX_UNZIPPED", 1000)
    bomb = zipped({"a.json": b" " * 100_000})
    with pytest.raises(InvalidInput, match="unpacks to more than"):
        import_results(alice, bomb, file_name="x", at=now())
    # A member that claims to be small is stopped while it is read.
    monkeypatch.setattr(foreign_imports, "_member", lambda archive: archive.infolist()[0])
    with pytest.raises(InvalidInput, match="unpacks to more than"):
        import_results(alice, bomb, file_name="x", at=now())


def test_a_file_above_the_limit_is_refused(browser, monkeypatch):
    monkeypatch.setattr(foreign_imports, "MAX_BYTES", 100)
    answer = browser.post(URL, {"file": upload("lean_result.json")})
    assert answer.status_code == 422
    assert "The file is larger than" in answer.content.decode()


def test_the_page_answers_mistakes_with_422(browser):
    for posted, said in (
        ({}, "This field is required."),
        ({"file": upload("x.csv", b"a,b,c,d\n1,2,3,4\n")}, "none of the known ones"),
        ({"file": upload("pyfolio_returns.csv"), "capital": "-1"}, "greater than or equal"),
        ({"confirm": "../../etc/passwd"}, "The file is no longer there."),
        ({"confirm": "0" * 64}, "The file is no longer there."),
    ):
        answer = browser.post(URL, posted)
        assert answer.status_code == 422, posted
        assert said in answer.content.decode()


def test_a_file_that_was_imported_before_says_so_in_the_preview(browser, alice):
    run = imported(alice, "vectorbt_trades.csv")
    page = browser.post(URL, {"file": upload("vectorbt_trades.csv")}).content.decode()
    assert "Imported before" in page
    assert run.get_absolute_url() in page


def test_uploads_that_nobody_confirmed_are_thrown_away_after_a_day(browser, tmp_path):
    import os

    browser.post(URL, {"file": upload("vectorbt_trades.csv")})
    (kept,) = (tmp_path / "results").iterdir()
    os.utime(kept, (0, 0))
    browser.post(URL, {"file": upload("lean_result.json")})
    assert kept not in list((tmp_path / "results").iterdir())


def test_imported_runs_stand_in_the_list_and_are_not_repeated(browser, alice):
    run = imported(alice, "pyfolio_returns.csv")
    page = browser.get("/backtests/?plugin=imported").content.decode()
    assert run.title in page
    assert "Imported" in page
    assert browser.post(f"/api/v1/backtests/{run.pk}/retry").status_code in (403, 409)


def test_imported_runs_can_be_compared(browser, alice):
    one, other = imported(alice, "lean_result.json"), imported(alice, "pyfolio_returns.csv")
    page = browser.get(f"/compare/?r={one.pk}&r={other.pk}")
    assert page.status_code == 200
    assert "Imported" in page.content.decode()


def test_only_those_who_may_trade_import_and_strangers_see_nothing(alice, charlie):
    run = imported(alice, "pyfolio_returns.csv")
    viewer = signed_in(make_user("vera", role="viewer"))
    assert viewer.get(URL).status_code == 403
    assert viewer.post(URL, {"file": upload("pyfolio_returns.csv")}).status_code == 403
    assert signed_in(charlie).get(run.get_absolute_url()).status_code == 404


def test_the_page_costs_few_queries(browser, django_assert_num_queries):
    # session, user, running jobs
    with django_assert_num_queries(3):
        browser.get(URL)
    # and the runs of this file
    with django_assert_num_queries(4):
        browser.post(URL, {"file": upload("freqtrade_result.json")})


def test_the_api_previews_and_imports(client, alice):
    headers = bearer(make_token(alice)[1])
    url = "/api/v1/backtests/imports"
    seen = client.post(f"{url}/preview", {"file": upload("lean_result.json")}, headers=headers)
    assert seen.status_code == 200, seen.content
    assert seen.json()["results"][0]["source"] == "LEAN"
    assert not BacktestRun.objects.exists()
    first = client.post(url, {"file": upload("lean_result.json")}, headers=headers)
    again = client.post(url, {"file": upload("lean_result.json")}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()[0]["backtest_id"] == again.json()[0]["backtest_id"]
    wrong = client.post(url, {"file": upload("x.json", b"{}")}, headers=headers)
    assert wrong.status_code == 422
    assert "Choose a returns CSV" in json.dumps(wrong.json())


def test_the_command_imports_once(alice, capsys):
    path = str(FILES / "backtesting_py_trades.csv")
    call_command("import_result", path, owner="alice", preview=True)
    assert "new" in capsys.readouterr().out
    call_command("import_result", path, owner="alice", json=True)
    assert json.loads(capsys.readouterr().out)["state"] == "imported"
    call_command("import_result", path, owner="alice", json=True)
    assert json.loads(capsys.readouterr().out)["state"] == "imported before"
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_result", "/nowhere.csv", owner="alice")
