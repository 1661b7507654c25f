"""A look over stored series: fresh arrays, gaps and suspected splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from alphastrat.marketdata.frames import rebuild_blocks
from alphastrat.marketdata.services.gaps import find_gaps
from alphastrat.marketdata.services.jumps import find_jumps

# So many series are looked over at a time, which bounds the memory their arrays take.
SERIES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Inspection:
    """What stands against the series that were looked over."""

    n_series: int = 0
    n_gaps: int = 0
    n_suspected_splits: int = 0


def inspect_series(
    series_ids: Sequence[UUID],
    *,
    at: datetime,
    on_progress: Callable[[int], None] = lambda _n_series: None,
) -> Inspection:
    """Derive the arrays of these series again and store what is found against their bars.

    It can be stopped and run again at any time.
    """
    n_gaps = n_jumps = 0
    for first in range(0, len(series_ids), SERIES_AT_ONCE):
        some = series_ids[first : first + SERIES_AT_ONCE]
        rebuild_blocks(some)
        n_gaps += find_gaps(some, at=at)
        n_jumps += find_jumps(some, at=at)
        on_progress(first + len(some))
    return Inspection(len(series_ids), n_gaps, n_jumps)
