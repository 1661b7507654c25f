"""Programs are watched, told about and started again."""

from __future__ import annotations

import io
import os
import signal
import sys
import time

import pytest

from alphastrat.servers.console import Console
from alphastrat.servers.supervisor import Program, Supervisor, how_it_ended

pytestmark = pytest.mark.servers

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path, screen):
    before = {number: signal.getsignal(number) for number in SIGNALS}
    watching = Supervisor(Console(screen), tmp_path / "log")
    yield watching
    watching.stop()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def program(name, code, tmp_path, **options):
    return Program(name, [sys.executable, "-c", code], env=os.environ, cwd=tmp_path, **options)


def turn_until(supervisor, is_done):
    deadline = time.monotonic() + 20
    while not is_done():
        assert time.monotonic() < deadline
        supervisor.turn(0.05)


def test_output_goes_to_screen_and_log_with_the_name_before_it(supervisor, screen, tmp_path):
    chatty = program("feed", "print('one\\ntwo', end=''); import time; time.sleep(60)", tmp_path)
    chatty.command = [*chatty.command[:1], "-u", *chatty.command[1:]]
    supervisor.start(chatty)
    turn_until(supervisor, lambda: "one" in screen.getvalue())
    supervisor.stop()
    assert screen.getvalue() == "feed       | one\nfeed       | two\n"
    assert (tmp_path / "log" / "feed.log").read_text().rstrip("\n") == "one\ntwo"


def test_a_crashed_program_starts_again_later_each_time(supervisor, screen, tmp_path):
    crashing = program("worker", "raise SystemExit(3)", tmp_path)
    crashing.delay = 0.01
    supervisor.start(crashing)
    turn_until(supervisor, lambda: screen.getvalue().count("exited with status 3") >= 3)
    assert crashing.delay == pytest.approx(0.08)


def test_a_program_that_runs_once_tells_how_it_ended(supervisor, tmp_path):
    ended = []
    supervisor.start(program("prepare", "raise SystemExit(2)", tmp_path, on_end=ended.append))
    turn_until(supervisor, lambda: ended)
    assert ended == [2]


def test_a_reader_who_went_away_stops_nothing(supervisor, tmp_path):
    read_end, write_end = os.pipe()
    supervisor.console = Console(os.fdopen(write_end, "w"))
    os.close(read_end)
    supervisor.start(program("web", "print('hello')", tmp_path))
    turn_until(supervisor, lambda: (tmp_path / "log" / "web.log").stat().st_size > 0)


def test_a_stop_request_ends_the_loop(supervisor):
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        supervisor.turn(5)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exited with status 0"), (3, "exited with status 3"), (-9, "was ended by SIGKILL")],
)
def test_an_exit_status_is_said_in_words(code, words):
    assert how_it_ended(code) == words
