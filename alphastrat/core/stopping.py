"""How a long-running process is told to end."""

from __future__ import annotations

import signal
import threading


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set.

    It is set in a thread: a signal may interrupt the loop while it holds the event's own lock,
    and setting it there would wait for that lock for ever.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
    return stop
