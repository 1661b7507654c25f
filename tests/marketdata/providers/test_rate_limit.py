from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

pytestmark = pytest.mark.django_db


def test_no_window_of_a_minute_ever_holds_more_than_five_calls(clock: Any) -> None:
    limit, calls = clock.limit(5), []
    for _ in range(23):
        limit.wait()
        calls.append(clock.now())
        clock.sleep(1.5)
    for first, sixth in zip(calls, calls[5:], strict=False):
        assert sixth - first >= timedelta(minutes=1)


def test_the_first_five_calls_do_not_wait(clock: Any) -> None:
    limit = clock.limit(5)
    for _ in range(5):
        limit.wait()
    assert clock.slept == []
    limit.wait()
    assert clock.slept == [60.0]


def test_two_processes_share_one_budget(clock: Any) -> None:
    one, other = clock.limit(2), clock.limit(2)
    one.wait()
    other.wait()
    assert clock.slept == []
    other.wait()
    assert clock.slept == [60.0]


def test_a_pause_the_vendor_asked_for_holds_everybody_back(clock: Any) -> None:
    clock.limit().hold_back(90)
    clock.limit().wait()
    assert clock.slept == [90.0]


def test_a_clock_set_back_by_a_day_does_not_stop_the_calls(clock: Any) -> None:
    for _ in range(5):
        clock.limit().wait()
    clock.at -= timedelta(days=1)
    clock.limit().wait()
    assert clock.slept == []


def test_zero_calls_a_minute_means_no_limit(clock: Any) -> None:
    for _ in range(50):
        clock.limit(0).wait()
    assert clock.slept == []
