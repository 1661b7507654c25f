"""What a portfolio is compared with: one instrument, or all that its strategies trade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from alphastrat.marketdata.frames import load_arrays
from alphastrat.marketdata.live_market import REPLAY
from alphastrat.marketdata.models import Adjustment, BarSeries, Instrument
from alphastrat.quant.types import FloatArray, Timeframe
from portfolio.models import Portfolio
from portfolio.quant.benchmark_returns import between_sessions

NONE = "none"
UNIVERSE = "universe"
DAILY = Timeframe.DAY_1.value
# More are not chosen from a list; any symbol may stand in the address.
MAX_CHOICES = 100
DAY = 86_400_000_000
UNIX_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """The returns of a benchmark over a portfolio's sessions.

    Attributes
    ----------
    name, label : str
        A symbol or "universe", and what people read.
    returns : ndarray of shape (n_sessions,)
        Fractions from one session of the portfolio to the next; NaN where no price is known.
    """

    name: str
    label: str
    returns: FloatArray

    @property
    def n_known(self) -> int:
        return int(np.isfinite(self.returns).sum())


def choices(chosen: str = UNIVERSE) -> list[tuple[str, str]]:
    """Return what a portfolio can be compared with, as names and labels.

    What is chosen is among them, even if the list would be too long for it.
    """
    daily = Instrument.objects.filter(series__timeframe=DAILY, is_active=True).distinct()
    symbols = list(daily.order_by("symbol").values_list("symbol", flat=True)[:MAX_CHOICES])
    if chosen not in (NONE, UNIVERSE, *symbols):
        symbols.append(chosen)
    return [
        (NONE, "Nothing"),
        (UNIVERSE, "Its instruments, equal weight"),
        *((symbol, symbol) for symbol in symbols),
    ]


def load(
    portfolio: Portfolio, name: str, days: Sequence[date], *, until: datetime | None
) -> Benchmark | None:
    """Return a benchmark over the days of a portfolio; None for none, or without any price.

    No bar counts that closed after `until`, the portfolio's newest mark: in a replay the stored
    ones already hold what is still to come. Closes are split-adjusted, without dividends.
    """
    if name in ("", NONE) or not days or until is None:
        return None
    found = BarSeries.objects.filter(timeframe=DAILY, adjustment=Adjustment.SPLIT)
    found = found.exclude(source=REPLAY).select_related("instrument").order_by("bar_count")
    if name == UNIVERSE:
        traded = Instrument.objects.filter(strategies__portfolio_members__portfolio=portfolio)
        found = found.filter(instrument__in=traded)
    else:
        found = found.filter(instrument__symbol=name)
    series = list({one.instrument_id: one for one in found}.values())
    if not series:
        return None
    bars = load_arrays(series, columns=("close",), known_at=until)
    # A bar that closes at midnight belongs to the session that ends.
    sessions = (bars.index.as_unit("us").asi8 - 1) // DAY + UNIX_EPOCH
    wanted = np.array([day.toordinal() for day in days], dtype=np.int64)
    label = "its instruments" if name == UNIVERSE else name
    benchmark = Benchmark(name, label, between_sessions(bars.close, sessions, wanted))
    return benchmark if benchmark.n_known else None
