"""What can be done to a backtest and to a search alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from alphastrat.core import jobs


def discard(study: Any, *, at: datetime) -> None:
    """Delete a backtest, walk-forward or sweep, stopping it first; its looks stay counted."""
    if not study.is_ended and study.job is not None:
        jobs.cancel(study.job, at=at)
    study.delete()
