"""A process that is told to end does, wherever the signal finds it."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED_IN_THE_LOCK = """
import signal
from alphastrat.core.stopping import stop_on_signal
stop = stop_on_signal()
with stop._cond:
    signal.raise_signal(signal.{number})
print(stop.wait(10))
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_inside_the_events_own_lock_still_stops(number):
    code = INTERRUPTED_IN_THE_LOCK.format(number=number)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "True\n"
