"""`manage.py up` and scripts/bootstrap.py answer trouble with one sentence."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alphastrat.servers.options import parse
from alphastrat.servers.state import Lock

pytestmark = pytest.mark.servers

ROOT = Path(__file__).resolve().parents[2]
UNSET = ("DATABASE_URL", "REDIS_URL", "PORT", "HOST")


def manage(*arguments, **env):
    inherited = {key: value for key, value in os.environ.items() if key not in UNSET}
    return subprocess.run(
        [sys.executable, ROOT / "manage.py", *arguments],
        env={**inherited, "DJANGO_SETTINGS_MODULE": "alphastrat.settings", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_start_says_that_one_is_running(var):
    Lock(var).acquire()
    done = manage("up", ALPHASTRAT_VAR=str(var))
    assert done.returncode == 1
    assert "already running" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_busy_port_is_said_before_anything_starts(var, busy_port):
    done = manage("up", ALPHASTRAT_VAR=str(var), PORT=str(busy_port))
    assert done.returncode == 1
    assert f"PORT={busy_port + 1}" in done.stdout
    assert not (var / "postgres").exists()


@pytest.mark.parametrize("port", ["eighty", "0", "65536"])
def test_a_senseless_port_is_refused(var, port):
    done = manage("up", ALPHASTRAT_VAR=str(var), PORT=port)
    assert done.returncode == 1
    assert done.stderr.startswith("PORT must be")
    assert done.stderr.count("\n") == 1


def test_a_command_without_servers_says_how_to_start_them(var):
    done = manage("showmigrations", ALPHASTRAT_VAR=str(var))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("The database is not running: run `make run`")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("only", ["web,nothing", ""])
def test_unknown_programs_are_refused(only, capsys):
    with pytest.raises(SystemExit):
        parse(["--only", only])
    assert "choose from web, worker, monitor, feed" in capsys.readouterr().err


def test_programs_are_chosen_by_name():
    assert parse(["--only", "web, feed"]).only == ("web", "feed")


@pytest.fixture(scope="module")
def bootstrap():
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PackageIndex(BaseHTTPRequestHandler):
    """An index that holds three versions of pip, the newest not last."""

    def do_GET(self):
        names = ["pip-9.0.1", "pip-24.3.1", "pip-24.0", "pip-25.0b1"]
        links = "".join(
            f'<a href="../files/{name}-py3-none-any.whl#sha256=0">x</a>' for name in names
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"wheel" if "files" in self.path else links.encode())

    def log_message(self, *arguments):
        return


@pytest.fixture
def package_index():
    server = ThreadingHTTPServer(("127.0.0.1", 0), PackageIndex)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def test_the_newest_released_pip_is_fetched(bootstrap, package_index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", package_index)
    wheel = bootstrap.fetch_pip(tmp_path)
    assert wheel.name == "pip-24.3.1-py3-none-any.whl"
    assert wheel.read_bytes() == b"wheel"


def test_the_configured_index_is_found(bootstrap, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    path = tmp_path / "pip.conf"
    path.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    assert bootstrap.package_indexes()[0] == "https://mirror.example/simple"


def test_an_unreachable_index_is_answered_with_a_sentence(bootstrap, tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "package_indexes", lambda: ["http://127.0.0.1:1/simple"])
    with pytest.raises(bootstrap.SetupError, match="set PIP_INDEX_URL"):
        bootstrap.fetch_pip(tmp_path)


def test_a_python_that_is_too_old_is_answered_with_a_sentence(bootstrap, monkeypatch):
    monkeypatch.setenv("PYTHON", "/bin/false")
    with pytest.raises(bootstrap.SetupError, match=r"needs Python 3\.11 or newer"):
        bootstrap.find_python()


def test_an_included_file_is_part_of_the_digest(bootstrap, tmp_path):
    (tmp_path / "runtime.txt").write_text("a==1\n")
    tools = tmp_path / "tools.txt"
    tools.write_text("-r runtime.txt\nb==1\n")
    before = bootstrap.digest(tools)
    (tmp_path / "runtime.txt").write_text("a==2\n")
    assert bootstrap.digest(tools) != before
