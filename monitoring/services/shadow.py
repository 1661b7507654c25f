"""The shadow: the same version run on the live period's bars, kept up to date by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
import pandas as pd
from django.db.models import F, Q

from alphastrat.marketdata.models import Instrument
from alphastrat.quant.calendars import periods_per_year
from alphastrat.quant.types import FloatArray, IntArray, Timeframe
from monitoring.models import Shadow
from monitoring.quant import gaps
from monitoring.services import packing
from monitoring.services.observations import microseconds
from portfolio.models import Account, Fill, OrderReason
from strategies.models import StrategyVersion
from strategies.quant import registry
from strategies.quant.memo import memo
from strategies.quant.panel import Panel
from strategies.quant.signals import PanelSignals, panel_signals
from strategies.quant.simulator import SimulationResult, simulate
from strategies.services import run_archive, specification
from strategies.services.live_bars import load_live_panel

# Recursive indicators forget slowly.
SPARE_BARS = 256
PROTECTIVE = (OrderReason.STOP, OrderReason.TARGET, OrderReason.TRAILING)
FILL_COLUMNS = ("symbol", "time", "quantity", "price", "fee", "reference")


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

    @property
    def fingerprint(self) -> str:
        """Return what changes when any price does."""
        digest = hashlib.sha256(self.history.index.as_unit("us").asi8.tobytes())
        for column in (self.history.open, self.history.high, self.history.low, self.history.close):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def refresh(account_ids: Sequence[UUID] | None, *, at: datetime) -> list[UUID]:
    """Bring the shadows of these accounts, or of all open ones, up to their newest mark.

    Returns the accounts whose shadow was computed; those that are up to date are left alone.
    """
    accounts = Account.objects.open().select_related("strategy__current_version")
    if account_ids is not None:
        accounts = accounts.filter(pk__in=account_ids)
    stale = Q(shadow__isnull=True) | ~Q(shadow__revision=F("revision"))
    chosen = list(accounts.filter(stale).select_related("shadow"))
    made = [
        shadow
        for account, market in _markets(chosen)
        if (shadow := _computed(account, market, at=at)) is not None
    ]
    Shadow.objects.bulk_create(
        made,
        update_conflicts=True,
        unique_fields=["account"],
        update_fields=[
            "version",
            "computed_at",
            "computed_to",
            "data_fingerprint",
            "n_bars",
            "curves",
            "fills",
            "known_fills",
            "matched",
            "revision",
        ],
    )
    return [one.account_id for one in made]


def live_market(account: Account, *, since: datetime | None = None) -> LiveMarket | None:
    """Return the bars of one account's life; None where there are none yet."""
    for _, market in _markets([account], since=since):
        return market
    return None


def live_fills(account: Account, symbols: Sequence[str], times: IntArray) -> pd.DataFrame:
    """Return the fills of an account that count, each with the bar it happened in.

    A fill at the very moment that one bar closes and the next opens belongs to the next, unless
    it is a protective exit; fills outside the bars are left out.
    """
    rows = Fill.objects.effective().filter(account=account).order_by("filled_at", "recorded_at")
    columns = ("instrument__symbol", "filled_at", "side", "quantity", "price", "commission")
    frame = pd.DataFrame.from_records(
        rows.values_list(*columns, "order__reason"),
        columns=["symbol", "filled_at", "side", "quantity", "price", "fee", "reason"],
    )
    if frame.empty or not len(times):
        return frame.iloc[:0].assign(bar=[], asset=[])
    moments = pd.DatetimeIndex(frame["filled_at"]).as_unit("us").asi8
    at_close = np.searchsorted(times, moments, side="left")
    at_open = np.searchsorted(times, moments, side="right")
    frame["bar"] = np.where(frame["reason"].isin(PROTECTIVE), at_close, at_open)
    codes = {symbol: code for code, symbol in enumerate(symbols)}
    frame["asset"] = [codes.get(symbol, -1) for symbol in frame["symbol"]]
    sign = np.where(frame["side"] == "buy", 1.0, -1.0)
    for name in ("quantity", "price", "fee"):
        frame[name] = frame[name].astype(np.float64)
    frame["quantity"] *= sign
    return frame[(frame["bar"] < len(times)) & (frame["asset"] >= 0)].reset_index(drop=True)


def fill_columns(
    frame: pd.DataFrame, symbols: Sequence[str], times: IntArray, opens: FloatArray
) -> gaps.FillColumns:
    """Return stored shadow fills, or live ones, as columns; the open of the bar as reference."""
    if "bar" in frame:
        bar, asset = frame["bar"].to_numpy(np.int64), frame["asset"].to_numpy(np.int64)
    else:
        codes = {symbol: code for code, symbol in enumerate(symbols)}
        known = frame["symbol"].isin(codes) & frame["time"].isin(times)
        frame = frame[known]
        bar = np.searchsorted(times, frame["time"].to_numpy(np.int64))
        asset = np.array([codes[symbol] for symbol in frame["symbol"]], np.int64)
    return gaps.FillColumns(
        asset=asset,
        bar=bar,
        quantity=frame["quantity"].to_numpy(np.float64),
        price=frame["price"].to_numpy(np.float64),
        fee=frame["fee"].to_numpy(np.float64),
        reference=opens[bar, asset] if len(bar) else np.empty(0),
    )


def _markets(
    accounts: Sequence[Account], *, since: datetime | None = None
) -> Iterator[tuple[Account, LiveMarket]]:
    """Read the bars of each timeframe once and cut every account's own from them."""
    with memo():
        for timeframe in sorted({account.strategy.timeframe for account in accounts}):
            group = [one for one in accounts if one.strategy.timeframe == timeframe]
            symbols = sorted({name for one in group for name in _version(one).symbols})
            newest = max(one.marked_to or one.opened_at for one in group)
            whole = load_live_panel(symbols, timeframe, known_at=newest)
            if whole is None:
                continue
            rows = Instrument.objects.filter(symbol__in=symbols)
            exchanges = dict(rows.values_list("symbol", "exchange"))
            for account in group:
                exchange = exchanges[_version(account).symbols[0]]
                market = _cut(account, whole, exchange, since=since)
                if market is not None:
                    yield account, market


def _cut(
    account: Account, whole: Panel, exchange: str, *, since: datetime | None
) -> LiveMarket | None:
    version = _version(account)
    if not set(version.symbols) <= set(whole.symbols):
        return None
    columns = [whole.symbols.index(symbol) for symbol in version.symbols]
    newest = pd.Timestamp(account.marked_to or account.opened_at)
    has_bar = np.isfinite(whole.close[:, columns]).any(axis=1) & (whole.index <= newest)
    rows = np.flatnonzero(has_bar)
    index = pd.DatetimeIndex(whole.index[rows])
    first = int(index.searchsorted(pd.Timestamp(since or account.opened_at), side="right"))
    if first >= len(index):
        return None
    warmup = registry.build(version.plugin, version.parameters).warmup_bars + SPARE_BARS
    before = max(0, first - warmup)
    kept = rows[before:]
    names = ("open", "high", "low", "close", "volume")
    arrays = (np.ascontiguousarray(getattr(whole, name)[kept][:, columns]) for name in names)
    panel = Panel(index[before:], tuple(version.symbols), *arrays)
    return LiveMarket(panel, first - before, exchange)


def _computed(account: Account, market: LiveMarket, *, at: datetime) -> Shadow | None:
    version = _version(account)
    before: Shadow | None = getattr(account, "shadow", None)
    if before is not None and before.version_id != version.pk:
        # A new version is followed from where the old one ended.
        later = live_market(account, since=before.computed_to)
        if later is None:
            return None
        market, before = later, None
    elif before is not None and before.n_bars:
        times, _ = packing.unpack_curve(before.curves)
        market = _from(market, int(times[0]))
    result = _run(account, version, market)
    times = market.times
    fills = _fills_frame(result, times)
    known = fills
    if before is not None:
        computed_to = microseconds(before.computed_to)
        first_seen = run_archive.unpack_trips(before.known_fills or before.fills)
        known = pd.concat([first_seen, fills[fills["time"] > computed_to]], ignore_index=True)
    return Shadow(
        account=account,
        version=version,
        computed_at=at,
        computed_to=market.panel.index[-1].to_pydatetime(),
        data_fingerprint=market.fingerprint,
        n_bars=len(times),
        curves=packing.pack_curve(times, result.returns),
        fills=run_archive.pack_trips(fills),
        known_fills=run_archive.pack_trips(known),
        matched=_matched(account, market, known),
        revision=account.revision,
    )


def _from(market: LiveMarket, first: int) -> LiveMarket:
    skipped = int(np.searchsorted(market.times, first))
    return LiveMarket(market.history, market.offset + skipped, market.exchange)


def _run(account: Account, version: StrategyVersion, market: LiveMarket) -> SimulationResult:
    day = market.panel.index[0].date()
    asked = specification.of_version(
        version,
        start=day,
        end=day + timedelta(days=1),
        capital=account.opening_cash,
        costs=account.costs,
    )
    config = specification.with_periods(
        specification.check_terms(asked),
        periods_per_year(Timeframe(version.timeframe), market.exchange),
    )
    plugin = registry.build(version.plugin, version.parameters)
    whole = panel_signals(plugin, market.history)
    rows = slice(market.offset, None)
    signals = PanelSignals(
        whole.index[rows], whole.symbols, whole.wishes[rows], whole.strength[rows], {}
    )
    return simulate(market.panel, signals, config=config)


def _fills_frame(result: SimulationResult, times: IntArray) -> pd.DataFrame:
    fills = result.fills
    slipped = fills.slippage / np.abs(fills.quantity) * np.sign(fills.quantity)
    return pd.DataFrame(
        {
            "symbol": [result.symbols[j] for j in fills.asset],
            "time": times[fills.bar],
            "quantity": fills.quantity,
            "price": fills.price,
            "fee": fills.commission,
            "reference": fills.price - slipped,
        },
        columns=list(FILL_COLUMNS),
    )


def _matched(account: Account, market: LiveMarket, known: pd.DataFrame) -> bytes:
    times, symbols = market.times, market.panel.symbols
    live = gaps.combine_fills(
        fill_columns(live_fills(account, symbols, times), symbols, times, market.panel.open)
    )
    modelled = fill_columns(known, symbols, times, market.panel.open)
    modelled = gaps.combine_fills(modelled)
    found = gaps.match_fills(live, modelled)
    # The counterpart of a fill of the newest bar may still be on its way.
    settled = len(times) - 1 - gaps.WITHIN_BARS
    missed = found.missed[modelled.bar[found.missed] <= settled]
    extra = found.extra[live.bar[found.extra] <= settled]
    records = np.zeros(len(found.live) + len(missed) + len(extra), packing.MATCHED)
    bars = np.concatenate([live.bar[found.live], modelled.bar[missed], live.bar[extra]])
    records["time"] = times[bars.astype(np.int64)]
    records["gap_bps"] = np.nan
    n_pairs = len(found.live)
    records["is_matched"][:n_pairs] = np.abs(found.late_bars) <= gaps.WITHIN_BARS
    records["gap_bps"][:n_pairs] = gaps.fill_gaps_bps(live, modelled, found)
    return records[np.argsort(records["time"], kind="stable")].tobytes()


def _version(account: Account) -> StrategyVersion:
    version = account.strategy.current_version
    if version is None:
        raise ValueError(f"strategy {account.strategy_id} has no version")
    return version
