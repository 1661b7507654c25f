"""Why a live account earned something else than its shadow: every basis point by its cause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.core.errors import NotEnoughData
from alphastrat.core.formatting import basis_points
from alphastrat.core.moments import microseconds
from alphastrat.quant.types import FloatArray
from monitoring.models import Shadow
from monitoring.quant.gaps import (
    Cause,
    FillColumns,
    GapLedger,
    GapWindow,
    combine_fills,
    explain_gap,
)
from monitoring.services import account_markets, packing, shadow
from monitoring.services.binary import moment_of
from portfolio.models import Account, EquityPoint
from strategies.models import Strategy
from strategies.services import run_archive

# A cause below this is rounding.
LEAST_BPS = 0.05
CAUSE_LABELS = {
    Cause.MISSED: "Missed fills",
    Cause.EXTRA: "Extra fills",
    Cause.LATE: "Late fills",
    Cause.PRICE: "Price and slippage",
    Cause.SIZE: "Size",
    Cause.FEE: "Fees",
    Cause.RESTATED: "Restated bars",
    Cause.RESIDUAL: "Unexplained",
}


@dataclass(frozen=True, slots=True)
class GapEntry:
    """One fill, or pair of fills, for people."""

    time: datetime | None
    symbol: str
    side: str
    shadow_quantity: float | None
    shadow_price: float | None
    live_quantity: float | None
    live_price: float | None
    slippage_bps: float | None
    late_bars: int | None
    cause: str
    gap_bps: float


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedGap:
    """The gap of one account with its curves.

    Attributes
    ----------
    account : Account
        Whose.
    ledger : GapLedger
        Basis points by cause.
    entries : tuple of GapEntry
        Fill by fill.
    times : DatetimeIndex of shape (n_bars,)
        Closes of the bars.
    live, shadow : ndarray of shape (n_bars,)
        Growth from 1.
    computed_to : datetime
        Close of the newest bar in it.
    """

    account: Account
    ledger: GapLedger
    entries: tuple[GapEntry, ...]
    times: pd.DatetimeIndex
    live: FloatArray
    shadow: FloatArray
    computed_to: datetime

    @property
    def causes(self) -> list[dict[str, Any]]:
        """Basis points by cause, the residual last."""
        return [
            {"cause": cause.value, "label": CAUSE_LABELS[cause], "bps": self.ledger.bps[cause]}
            for cause in Cause
        ]

    @property
    def largest_cause(self) -> str:
        """What most of the gap is put down to, in words."""
        largest = max(self.causes, key=lambda one: abs(one["bps"]))
        if abs(largest["bps"]) < LEAST_BPS:
            return "Every fill is as the model has it"
        return f"Mostly {largest['label'].lower()}, {basis_points(largest['bps'])}"


def explain(strategy: Strategy) -> ExplainedGap:
    """Explain the gap of a strategy's account against its shadow, as far as both go.

    Raises NotEnoughData before there is a shadow with a bar.
    """
    accounts = Account.objects.filter(strategy=strategy).select_related(
        "strategy__current_version", "shadow"
    )
    account = accounts.order_by("closed_at", "-opened_at").first()
    found: Shadow | None = getattr(account, "shadow", None) if account else None
    if account is None or found is None or not found.n_bars:
        raise NotEnoughData(
            "There is no live trading to compare yet; the shadow is computed after the first bar.",
            needed=1,
            available=0,
        )
    return _explained(account, found)


def _explained(account: Account, found: Shadow) -> ExplainedGap:
    times, returns = packing.unpack_curve(found.curves)
    market = account_markets.market_of(account)
    if market is None:
        raise NotEnoughData("The bars of the live period are gone.", needed=1, available=0)
    kept = slice(*np.searchsorted(market.times, [times[0], times[-1] + 1]))
    symbols, opens = market.panel.symbols, market.panel.open[kept]
    times = market.times[kept]
    fills = shadow.read_fills([account.pk]).get(account.pk)
    live_rows = shadow.live_fills(fills, symbols, times)
    live = shadow.fill_columns(live_rows, symbols, times, opens)
    current = shadow.fill_columns(run_archive.unpack_trips(found.fills), symbols, times, opens)
    known = shadow.fill_columns(
        run_archive.unpack_trips(found.known_fills or found.fills), symbols, times, opens
    )
    growth, capital, earned = _live_path(account, times)
    modelled = float(account.opening_cash)
    ledger = explain_gap(
        live,
        current,
        window=GapWindow(
            live_capital=capital,
            shadow_capital=modelled,
            live_pnl=earned,
            shadow_pnl=modelled * float(np.prod(1.0 + returns) - 1.0),
            marks=_marks(market.panel.close[: kept.stop]),
        ),
        known_shadow=known,
    )
    scaled = combine_fills(known.scaled(capital / modelled))
    return ExplainedGap(
        account=account,
        ledger=ledger,
        entries=_entries(ledger, scaled, symbols, times),
        times=pd.DatetimeIndex(pd.to_datetime(times, unit="us", utc=True)),
        live=growth,
        shadow=np.asarray(np.cumprod(1.0 + returns), np.float64),
        computed_to=found.computed_to,
    )


def _live_path(account: Account, times: Any) -> tuple[FloatArray, float, float]:
    """Return live growth at each bar, the capital it started from, and what was earned."""
    rows = EquityPoint.objects.filter(
        account=account, marked_at__lte=moment_of(int(times[-1]))
    ).order_by("marked_at")
    points = list(rows.values_list("marked_at", "equity", "net_flow", "bar_return"))
    before = [one for one in points if microseconds(one[0]) < times[0]]
    inside = [one for one in points if microseconds(one[0]) >= times[0]]
    capital = before[-1][1] if before else account.opening_cash
    flows = sum((one[2] for one in inside), Decimal(0))
    earned = float(inside[-1][1] - capital - flows) if inside else 0.0
    by_time = {microseconds(one[0]): float(one[3] or 0.0) for one in inside}
    returns = np.array([by_time.get(int(time), 0.0) for time in times])
    return np.asarray(np.cumprod(1.0 + returns), np.float64), float(capital), earned


def _marks(closes: FloatArray) -> dict[int, float]:
    newest = pd.DataFrame(closes).ffill().iloc[-1].to_numpy(np.float64)
    return {code: float(value) for code, value in enumerate(newest)}


def _entries(
    ledger: GapLedger, known: FillColumns, symbols: tuple[str, ...], times: Any
) -> tuple[GapEntry, ...]:
    entries = []
    for row in ledger.rows:
        of_live = None if row.live is None else (ledger.live, row.live)
        of_shadow = None if row.shadow is None else (known, row.shadow)
        columns, place = of_live or of_shadow or (known, 0)
        slipped = None
        if row.live is not None and row.shadow is not None:
            side = np.sign(known.quantity[row.shadow])
            slipped = float(
                side * (ledger.live.price[row.live] / known.price[row.shadow] - 1.0) * 1e4
            )
        entries.append(
            GapEntry(
                time=moment_of(int(times[columns.bar[place]])),
                symbol=symbols[int(columns.asset[place])],
                side="buy" if columns.quantity[place] > 0 else "sell",
                shadow_quantity=_of(of_shadow, "quantity"),
                shadow_price=_of(of_shadow, "price"),
                live_quantity=_of(of_live, "quantity"),
                live_price=_of(of_live, "price"),
                slippage_bps=slipped,
                late_bars=row.late_bars if slipped is not None else None,
                cause=_cause(row.bps, slipped),
                gap_bps=row.total_bps,
            )
        )
    return tuple(entries)


def _of(part: tuple[FillColumns, int] | None, name: str) -> float | None:
    if part is None:
        return None
    return abs(float(getattr(part[0], name)[part[1]]))


def _cause(bps: dict[Cause, float], slipped: float | None) -> str:
    """Return the largest cause; "none" for a pair of fills without any difference."""
    largest = max(bps, key=lambda cause: abs(bps[cause]))
    return largest.value if slipped is None or abs(bps[largest]) >= 5e-4 else "none"
