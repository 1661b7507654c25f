"""Progress of commands, on standard error so that standard output stays the answer."""

from __future__ import annotations

import time

from django.core.management.base import OutputWrapper

LINE_SECONDS = 2.0
REDRAW_SECONDS = 0.1


class TerminalProgress:
    """One line that is drawn over on a terminal, or a line every two seconds elsewhere."""

    def __init__(self, stream: OutputWrapper, *, total: int | None, unit: str) -> None:
        self._stream = stream
        self._total = total
        self._unit = unit
        self._is_terminal = stream.isatty()
        self._step = ""
        self._began = time.monotonic()
        self._drawn_at = 0.0

    def update(self, n_done: int, step: str) -> None:
        """Say how far it is; written only now and then, so call it freely."""
        wait = REDRAW_SECONDS if self._is_terminal else LINE_SECONDS
        at = time.monotonic()
        if step == self._step and at - self._drawn_at < wait:
            return
        self._step, self._drawn_at = step, at
        self._write(f"{step}: {self._amount(n_done)} ({at - self._began:.0f} s)")

    def close(self) -> None:
        """Leave the line, so that what follows does not run into it."""
        if self._is_terminal and self._step:
            self._send("\n")

    def _amount(self, n_done: int) -> str:
        if not self._total:
            return f"{n_done:,} {self._unit}"
        n_shown = min(n_done, self._total)
        return f"{n_shown:,} of {self._total:,} {self._unit}, {n_shown / self._total:.0%}"

    def _write(self, text: str) -> None:
        self._send(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")

    def _send(self, text: str) -> None:
        # Django writes what goes to standard error in red; progress is no error.
        self._stream.write(text, style_func=str, ending="")
        self._stream.flush()
