"""Was the universe of a run chosen with hindsight? What the stored bars say about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Max

from alphastrat.marketdata.live_market import REPLAY
from alphastrat.marketdata.models import AssetClass, BarSeries
from alphastrat.marketdata.services import sample_market
from strategies.models import BacktestRun
from strategies.quant.findings import Survivors

LEAST_INSTRUMENTS = 10
LEAST_YEARS = 3.0
# A series that ends this much before the newest one has ended.
TOLERANCE = timedelta(days=10)
YEAR = timedelta(days=365.25)


def survivors_of(run: BacktestRun, series: Sequence[BarSeries]) -> Survivors | None:
    """Return the shares of a run if nothing but survivors is among them, else None.

    Of the sample market that is known. Elsewhere it takes ten shares, three years and that none of
    them has ended before the newest bar of its timeframe that is stored: few shares over a short
    time survive anyway.
    """
    shares = [one for one in series if one.instrument.asset_class == AssetClass.EQUITY]
    is_known = bool(shares) and all(one.source == sample_market.SOURCE for one in shares)
    if not is_known and len(shares) < LEAST_INSTRUMENTS:
        return None
    stored = BarSeries.objects.exclude(source=REPLAY).filter(timeframe=run.timeframe)
    newest = stored.aggregate(at=Max("last_closed_at"))["at"]
    years = (newest - run.start_at) / YEAR
    have_ended = [one for one in shares if newest - one.last_closed_at > TOLERANCE]
    if not is_known and (years < LEAST_YEARS or have_ended):
        return None
    return Survivors(len(shares), years, is_known=is_known)
