"""The bars of accounts' lives, as the shadow and the gap ledger look at them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import pandas as pd

from alphastrat.marketdata.models import Instrument
from alphastrat.quant.types import IntArray
from portfolio.models import Account
from strategies.models import StrategyVersion
from strategies.quant import registry
from strategies.quant.memo import memo
from strategies.quant.panel import Panel
from strategies.services.live_bars import load_live_panel

# Recursive indicators forget slowly.
SPARE_BARS = 256


@dataclass(frozen=True, slots=True, eq=False)
class LiveMarket:
    """The bars of an account's life, and those before that its indicators need."""

    history: Panel
    offset: int
    exchange: str

    @property
    def panel(self) -> Panel:
        """Bars of the account's life."""
        return self.history.window(self.offset, self.history.n_bars)

    @property
    def times(self) -> IntArray:
        """Closes of those bars in microseconds since 1970 UTC."""
        return np.asarray(self.panel.index.as_unit("us").asi8, np.int64)

    def fingerprint(self, until: datetime | None = None) -> str:
        """Return what changes when any price of a bar that had closed by `until` does."""
        index = self.history.index
        n_bars = len(index) if until is None else int(index.searchsorted(until, side="right"))
        digest = hashlib.sha256(index[:n_bars].as_unit("us").asi8.tobytes())
        for column in (self.history.open, self.history.high, self.history.low, self.history.close):
            digest.update(np.ascontiguousarray(column[:n_bars]).tobytes())
        return digest.hexdigest()


def market_of(account: Account) -> LiveMarket | None:
    """Return the bars of one account's life; None where there are none yet."""
    for _, market in markets_of([account]):
        return market
    return None


def markets_of(
    accounts: Sequence[Account], *, since: Mapping[UUID, datetime] | None = None
) -> Iterator[tuple[Account, LiveMarket]]:
    """Read the bars of each timeframe once and cut every account's own from them.

    An account's life begins when it was opened, or later where `since` says so; accounts without
    a bar since then are left out.
    """
    with memo():
        for timeframe in sorted({account.strategy.timeframe for account in accounts}):
            group = [one for one in accounts if one.strategy.timeframe == timeframe]
            symbols = sorted({name for one in group for name in version_of(one).symbols})
            newest = max(one.marked_to or one.opened_at for one in group)
            whole = load_live_panel(symbols, timeframe, known_at=newest)
            if whole is None:
                continue
            rows = Instrument.objects.filter(symbol__in=symbols)
            exchanges = dict(rows.values_list("symbol", "exchange"))
            for account in group:
                exchange = exchanges[version_of(account).symbols[0]]
                start = (since or {}).get(account.pk, account.opened_at)
                market = _cut(account, whole, exchange, since=start)
                if market is not None:
                    yield account, market


def version_of(account: Account) -> StrategyVersion:
    """Return the version that an account follows; fetch it with the account."""
    version = account.strategy.current_version
    if version is None:
        raise ValueError(f"strategy {account.strategy_id} has no version")
    return version


def _cut(account: Account, whole: Panel, exchange: str, *, since: datetime) -> LiveMarket | None:
    version = version_of(account)
    if not set(version.symbols) <= set(whole.symbols):
        return None
    columns = [whole.symbols.index(symbol) for symbol in version.symbols]
    newest = pd.Timestamp(account.marked_to or account.opened_at)
    has_bar = np.isfinite(whole.close[:, columns]).any(axis=1) & (whole.index <= newest)
    rows = np.flatnonzero(has_bar)
    index = pd.DatetimeIndex(whole.index[rows])
    first = int(index.searchsorted(pd.Timestamp(since), side="right"))
    if first >= len(index):
        return None
    warmup = registry.build(version.plugin, version.parameters).warmup_bars + SPARE_BARS
    before = max(0, first - warmup)
    kept = rows[before:]
    names = ("open", "high", "low", "close", "volume")
    arrays = (np.ascontiguousarray(getattr(whole, name)[kept][:, columns]) for name in names)
    panel = Panel(index[before:], tuple(version.symbols), *arrays)
    return LiveMarket(panel, first - before, exchange)
