"""What the person at the terminal sees, and the log files beside it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO

COLOURS = {
    "web": 36,
    "worker": 33,
    "monitor": 35,
    "feed": 32,
    "prepare": 34,
    "compile": 34,
    "alphastrat": 1,
}
WIDTH = max(map(len, COLOURS))
LARGEST_LOG = 20 * 2**20


class Console:
    """Prefixed lines on one stream; a reader who went away does not stop the product."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream: IO[str] | None = stream or sys.stdout
        self._colour = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def say(self, sentence: str) -> None:
        self.line("alphastrat", sentence)

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{WIDTH}} |"
        if self._colour:
            prefix = f"\x1b[{COLOURS.get(name, 37)}m{prefix}\x1b[0m"
        self.plain(f"{prefix} {text}")

    def plain(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:
            self._stream = None


class LogFile:
    """One process' log under var/log; an old one is kept when it grows too long."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._stream = path.open("ab")

    def write(self, content: bytes) -> None:
        if self._stream.tell() > LARGEST_LOG:
            self._stream.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._stream = self._path.open("ab")
        self._stream.write(content)
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()
