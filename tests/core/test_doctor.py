from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.timezone import now

from alphastrat.core import doctor
from alphastrat.core.doctor import EVERYTHING, Finding, Verdict, operation, servers, software, worst
from alphastrat.core.models import Heartbeat

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


def make_beat(process: str, *, seconds_ago: float) -> None:
    at = now()
    Heartbeat.objects.create(
        process=process,
        host="here",
        pid=1,
        started_at=at,
        beat_at=at - timedelta(seconds=seconds_ago),
    )


def every_process_is_alive() -> None:
    for process in ("worker", "monitor", "feed"):
        make_beat(process, seconds_ago=1)


@pytest.fixture
def no_database(monkeypatch):
    def refuse(*args, **options):
        raise OperationalError("connection refused\nmore lines")

    monkeypatch.setattr(connection, "cursor", refuse)
    monkeypatch.setattr("alphastrat.core.heartbeats.newest", refuse)
    monkeypatch.setattr(MigrationExecutor, "__init__", refuse)


def test_servers_and_software_of_this_suite_are_found_well():
    checks = [
        software.python,
        software.libraries,
        servers.database,
        servers.migrations,
        servers.broker,
        servers.channel_layer,
        servers.clock,
    ]
    findings = doctor.run_checks(checks, at=now())
    assert [finding.status for finding in findings] == [Verdict.OK] * len(checks)


def test_every_finding_that_is_not_well_says_what_to_do(no_database, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for finding in doctor.run_checks(at=now()):
        assert finding.detail
        assert bool(finding.remedy) is (finding.status is not Verdict.OK), finding


def test_a_database_that_is_away_is_an_error_and_nothing_raises(no_database):
    found = {finding.name: finding for finding in doctor.run_checks(at=now())}
    needing = ("database", "migrations", "timescaledb", "worker", "monitor", "feed", "clock")
    assert {found[name].status for name in needing} == {Verdict.ERROR}
    assert found["database"].detail == "The database does not answer: connection refused"


def test_a_broker_that_is_away_is_an_error(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert servers.broker(now()).status is Verdict.ERROR


@pytest.mark.parametrize(
    ("check", "seconds_ago", "status"),
    [
        (operation.worker, 1, Verdict.OK),
        (operation.worker, 19, Verdict.OK),
        (operation.worker, 25, Verdict.ERROR),
        (operation.worker, 7_200, Verdict.ERROR),
        (operation.worker, None, Verdict.ERROR),
        (operation.monitor, None, Verdict.ERROR),
        (operation.feed, 25, Verdict.WARNING),
        (operation.feed, None, Verdict.WARNING),
    ],
)
def test_a_silent_process_is_found_by_its_heartbeat(check, seconds_ago, status):
    if seconds_ago is not None:
        make_beat(check.__name__, seconds_ago=seconds_ago)
    finding = check(now())
    assert (finding.name, finding.status) == (check.__name__, status)


@pytest.mark.parametrize(
    ("offset", "status"),
    [(0.5, Verdict.OK), (-5, Verdict.WARNING), (5, Verdict.WARNING), (45, Verdict.ERROR)],
)
def test_a_clock_that_is_off_is_found(monkeypatch, offset, status):
    monkeypatch.setattr(servers, "now", lambda: now() + timedelta(seconds=offset))
    assert servers.clock(now()).status is status


@pytest.mark.parametrize(
    ("free_bytes", "status"),
    [
        (10 * 2**30, Verdict.OK),
        (2**30, Verdict.WARNING),
        (2**20, Verdict.ERROR),
    ],
)
def test_a_full_disk_is_found(monkeypatch, settings, tmp_path, free_bytes, status):
    settings.VAR_DIR = tmp_path
    usage = SimpleNamespace(free=free_bytes, total=100 * 2**30)
    monkeypatch.setattr(operation.shutil, "disk_usage", lambda place: usage)
    assert operation.disk(now()).status is status


@pytest.mark.parametrize(
    ("row", "status", "word"),
    [
        (None, Verdict.OK, "Not available"),
        (("2.20", None), Verdict.WARNING, "not installed"),
        (("2.20", "2.19"), Verdict.OK, "Version 2.19"),
    ],
)
def test_timescaledb_is_told_apart_from_plain_postgresql(monkeypatch, row, status, word):
    class Cursor:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def execute(self, query):
            pass

        def fetchone(self):
            return row

    monkeypatch.setattr(connection, "cursor", Cursor)
    finding = servers.timescaledb(now())
    assert (finding.status, word in finding.detail) == (status, True)


def test_a_migration_that_waits_is_named(monkeypatch):
    step = SimpleNamespace(app_label="core", name="0099_new")
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *args: [(step, False)])
    finding = servers.migrations(now())
    assert finding.status is Verdict.ERROR
    assert "core.0099_new" in finding.detail


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(software.LIBRARIES, "no-such-library", "no_such_library")
    finding = software.libraries(now())
    assert finding.status is Verdict.ERROR
    assert "no-such-library" in finding.detail


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(software, "OLDEST_PYTHON", (99, 0))
    assert software.python(now()).status is Verdict.ERROR


@pytest.mark.parametrize(
    ("key", "feed", "providers", "status"),
    [
        ("", "replay", ["yfinance"], Verdict.OK),
        ("", "replay", ["massive", "yfinance"], Verdict.WARNING),
        ("", "massive", ["massive"], Verdict.ERROR),
        ("k3y-hunter2", "massive", ["massive"], Verdict.OK),
    ],
)
def test_a_key_that_is_missing_is_found_and_a_key_that_is_there_not_shown(
    settings, key, feed, providers, status
):
    settings.MASSIVE_API_KEY = key
    settings.FEED_PROVIDER = feed
    settings.MARKET_DATA_PROVIDERS = providers
    finding = operation.provider_keys(now())
    assert finding.status is status
    assert "hunter2" not in str(finding)


def test_mail_that_goes_to_files_is_a_warning_and_a_server_that_is_away_an_error(settings):
    assert operation.mail(now()).status is Verdict.WARNING
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    finding = operation.mail(now())
    assert (finding.status, "127.0.0.1:1" in finding.detail) == (Verdict.ERROR, True)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [("ok ok", "ok"), ("ok warning", "warning"), ("error warning ok", "error")],
)
def test_the_gravest_finding_decides(statuses, verdict):
    findings = [Finding("x", Verdict(status), "") for status in statuses.split()]
    assert worst(findings) == verdict


def run_doctor(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_ends_with_1_only_when_something_needed_is_broken():
    every_process_is_alive()
    assert run_doctor()[0] == 0
    Heartbeat.objects.filter(process="worker").delete()
    status, text = run_doctor()
    assert status == 1
    assert "ERROR    worker" in text
    assert "→ Start everything" in text
    assert "\x1b" not in text


def test_the_command_answers_in_json():
    every_process_is_alive()
    status, text = run_doctor("--json")
    report = json.loads(text)
    assert status == 0
    assert report["status"] == "warning"
    assert [check["name"] for check in report["checks"]] == [
        finding.name for finding in doctor.run_checks(EVERYTHING, at=now())
    ]


def test_readiness_asks_for_what_requests_need(client):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "ok", "migrations": "ok"}


def test_readiness_is_refused_without_a_database_and_tells_strangers_no_details(
    client, no_database
):
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "error", "database": "error", "migrations": "error"}


def test_production_settings_pass_the_deployment_check(tmp_path):
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "alphastrat.settings",
        "ALPHASTRAT_VAR": str(tmp_path),
        "DEBUG": "0",
        "HTTPS": "1",
        "ALLOWED_HOSTS": "alphastrat.example.com",
        "SECRET_KEY": "a-key-for-this-check-only-" + "0123456789abcdefghijklmnop" * 2,
    }
    answer = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
