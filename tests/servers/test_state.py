"""What var/ remembers is believed only while its writer lives."""

from __future__ import annotations

import os
import socket

import pytest

from alphastrat.servers import readiness
from alphastrat.servers.environment import demo_account, page_address
from alphastrat.servers.errors import ServerError
from alphastrat.servers.ports import listen, pick_port
from alphastrat.servers.state import (
    AlreadyRunningError,
    Lock,
    process_birth,
    read_state,
    running_url,
    write_state,
)

URL = "postgres://alphastrat:secret@127.0.0.1:5/alphastrat"


def remember(var, pid, birth):
    write_state(var, {"urls": {"postgres": URL}, "pid": pid, "birth": birth})


def test_a_running_server_is_found(tmp_path):
    remember(tmp_path, os.getpid(), process_birth(os.getpid()))
    assert running_url(tmp_path, "postgres") == URL
    assert running_url(tmp_path, "valkey") is None


@pytest.mark.parametrize("birth", ["1", None])
def test_a_recycled_pid_is_no_running_server(tmp_path, birth):
    remember(tmp_path, os.getpid(), birth)
    assert running_url(tmp_path, "postgres") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_torn_state_file_is_an_empty_one(tmp_path, content):
    (tmp_path / "servers.json").write_text(content)
    assert running_url(tmp_path, "postgres") is None
    assert isinstance(read_state(tmp_path), dict)


def test_the_state_file_is_ours_alone(tmp_path):
    remember(tmp_path, 1, None)
    assert (tmp_path / "servers.json").stat().st_mode & 0o777 == 0o600


def test_a_second_start_is_told_where_the_first_one_runs(tmp_path):
    write_state(tmp_path, {"pid": 123, "page": "http://127.0.0.1:8000/"})
    first = Lock(tmp_path)
    first.acquire()
    with pytest.raises(AlreadyRunningError, match=r"http://127\.0\.0\.1:8000/ \(process 123\)"):
        Lock(tmp_path).acquire()
    first.release()
    Lock(tmp_path).acquire()


def test_a_busy_port_is_answered_with_another(busy_port):
    with pytest.raises(ServerError, match=f"port {busy_port} .*PORT={busy_port + 1}"):
        listen("127.0.0.1", busy_port)


def test_an_address_that_is_not_ours_is_refused():
    with pytest.raises(ServerError, match=r"192\.0\.2\.1|not an address"):
        listen("192.0.2.1", 0)


def test_a_remembered_port_is_kept_while_free(busy_port):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert pick_port(free) == free
    assert pick_port(busy_port) != busy_port


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::1", "http://[::1]:8000/"),
        ("::", "http://[::1]:8000/"),
    ],
)
def test_the_address_shown_can_be_opened_here(host, address):
    assert page_address(host, 8000) == address


def test_the_demo_account_is_read_back(tmp_path):
    (tmp_path / "demo.env").write_text("# demo\nUSER=demo\nPASSWORD='a b'\n\n")
    assert demo_account(tmp_path) == {"USER": "demo", "PASSWORD": "a b"}
    assert demo_account(tmp_path / "nowhere") == {}


def test_the_fingerprint_changes_with_any_source_file(tmp_path):
    source = tmp_path / "alphastrat" / "models.py"
    source.parent.mkdir()
    source.write_text("a")
    (source.parent / "__pycache__").mkdir()
    before = readiness.fingerprint(tmp_path)
    (source.parent / "__pycache__" / "models.pyc").write_text("b")
    assert readiness.fingerprint(tmp_path) == before
    assert readiness.fingerprint(tmp_path, "other database") != before
    source.write_text("ab")
    assert readiness.fingerprint(tmp_path) != before
