"""The shadow: the same version run on the live period's bars, kept up to date by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from django.db.models import F, Q

from alphastrat.core.moments import microseconds
from alphastrat.quant.calendars import periods_per_year
from alphastrat.quant.types import FloatArray, IntArray, Timeframe
from monitoring.models import Shadow
from monitoring.quant import gaps
from monitoring.services import packing
from monitoring.services.account_markets import LiveMarket, markets_of, version_of
from monitoring.services.signal_divergence import explain, follow, read_given
from portfolio.models import Account, Fill, OrderReason
from strategies.models import StrategyVersion
from strategies.quant import registry
from strategies.quant.signals import PanelSignals, panel_signals
from strategies.quant.simulator import SimulationResult, simulate
from strategies.services import run_archive, specification

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PROTECTIVE = (OrderReason.STOP, OrderReason.TARGET, OrderReason.TRAILING)
NO_FILLS = pd.DataFrame(columns=["symbol", "quantity", "price", "fee", "bar", "asset"], dtype=float)
FILL_COLUMNS = ("symbol", "time", "quantity", "price", "fee", "reference")


def refresh(account_ids: Sequence[UUID] | None, *, at: datetime) -> list[UUID]:
    """Bring the shadows of these accounts, or of all open ones, up to their newest mark.

    Returns the accounts whose shadow was computed; those that are up to date are left alone.
    """
    accounts = Account.objects.open().select_related("strategy__current_version")
    if account_ids is not None:
        accounts = accounts.filter(pk__in=account_ids)
    stale = Q(shadow__isnull=True) | ~Q(shadow__revision=F("revision"))
    chosen = list(accounts.filter(stale).select_related("shadow"))
    given, fills = read_given(chosen), read_fills([one.pk for one in chosen])
    made, followed = [], []
    for account, market in markets_of(chosen, since=_starts(chosen)):
        answer = panel_signals(_plugin(account), market.history)
        made.append(_computed(account, market, answer, fills.get(account.pk), at=at))
        followed.append(follow(account, market, answer, given.get(account.pk)))
    explain(followed)
    for one, comparison in zip(made, followed, strict=True):
        for name, value in comparison.fields.items():
            setattr(one, name, value)
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
            "signals",
            "divergences",
            "signals_to",
            "sides",
            "revision",
        ],
    )
    return [one.account_id for one in made]


def read_fills(account_ids: Sequence[UUID]) -> dict[UUID, pd.DataFrame]:
    """Return the fills of each account that count, in order, all read at once.

    Quantities are positive for a buy.
    """
    rows = Fill.objects.effective().filter(account__in=account_ids)
    columns = ("instrument__symbol", "filled_at", "side", "quantity", "price", "commission")
    frame = pd.DataFrame.from_records(
        rows.order_by("filled_at", "recorded_at", "pk").values_list(
            "account_id", *columns, "order__reason"
        ),
        columns=["account", "symbol", "filled_at", "side", "quantity", "price", "fee", "reason"],
    )
    if frame.empty:
        return {}
    for name in ("quantity", "price", "fee"):
        frame[name] = frame[name].astype(np.float64)
    frame["quantity"] *= np.where(frame["side"] == "buy", 1.0, -1.0)
    groups = frame.groupby("account")
    return {one: groups.get_group(one) for one in frame["account"].unique()}


def live_fills(fills: pd.DataFrame | None, symbols: Sequence[str], times: IntArray) -> pd.DataFrame:
    """Return the fills of an account, as `read_fills` has them, each with the bar it happened in.

    A fill at the very moment that one bar closes and the next opens belongs to the next, unless
    it is a protective exit; fills outside the bars are left out.
    """
    if fills is None or not len(times):
        return NO_FILLS
    moments = pd.DatetimeIndex(fills["filled_at"]).as_unit("us").asi8
    at_close = np.searchsorted(times, moments, side="left")
    at_open = np.searchsorted(times, moments, side="right")
    codes = {symbol: code for code, symbol in enumerate(symbols)}
    placed = fills.assign(
        bar=np.where(fills["reason"].isin(PROTECTIVE), at_close, at_open),
        asset=[codes.get(symbol, -1) for symbol in fills["symbol"]],
    )
    return placed[(placed["bar"] < len(times)) & (placed["asset"] >= 0)].reset_index(drop=True)


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


def _starts(accounts: Sequence[Account]) -> dict[UUID, datetime]:
    """Return where the shadows of accounts go on: at their first bar, or with a new version."""
    starts = {}
    for account in accounts:
        before: Shadow | None = getattr(account, "shadow", None)
        if before is None:
            continue
        if before.version_id != version_of(account).pk:
            # A new version is followed from where the old one ended.
            starts[account.pk] = before.computed_to
        elif before.n_bars:
            times, _ = packing.unpack_curve(before.curves)
            starts[account.pk] = EPOCH + timedelta(microseconds=int(times[0]) - 1)
    return starts


def _plugin(account: Account) -> Any:
    version = version_of(account)
    return registry.build(version.plugin, version.parameters)


def _computed(
    account: Account,
    market: LiveMarket,
    answer: PanelSignals,
    live: pd.DataFrame | None,
    *,
    at: datetime,
) -> Shadow:
    version = version_of(account)
    before: Shadow | None = getattr(account, "shadow", None)
    if before is not None and before.version_id != version.pk:
        before = None
    result = _run(account, version, market, answer)
    times = market.times
    fills = _fills_frame(result, times)
    known = fills
    if before is not None:
        computed_to = microseconds(before.computed_to)
        first_seen = run_archive.unpack_trips(before.known_fills or before.fills)
        known = pd.concat([first_seen, fills[fills["time"] > computed_to]], ignore_index=True)
    # By its key: the account keeps the shadow so far, to which signals are compared after this.
    return Shadow(
        account_id=account.pk,
        version=version,
        computed_at=at,
        computed_to=market.panel.index[-1].to_pydatetime(),
        data_fingerprint=market.fingerprint(),
        n_bars=len(times),
        curves=packing.pack_curve(times, result.returns),
        fills=run_archive.pack_trips(fills),
        known_fills=run_archive.pack_trips(known),
        matched=_matched(live, market, known),
        revision=account.revision,
    )


def _run(
    account: Account, version: StrategyVersion, market: LiveMarket, answer: PanelSignals
) -> SimulationResult:
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
    rows = slice(market.offset, None)
    signals = PanelSignals(
        answer.index[rows], answer.symbols, answer.wishes[rows], answer.strength[rows], {}
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


def _matched(fills: pd.DataFrame | None, market: LiveMarket, known: pd.DataFrame) -> bytes:
    times, symbols = market.times, market.panel.symbols
    live = gaps.combine_fills(
        fill_columns(live_fills(fills, symbols, times), symbols, times, market.panel.open)
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
