"""History from the network providers, instrument by instrument, resumable after each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from alphastrat.core import jobs
from alphastrat.core.errors import InvalidInput, ProviderError
from alphastrat.core.models import Job
from alphastrat.marketdata.frames import rebuild_blocks
from alphastrat.marketdata.models import Adjustment, AssetClass, BarSeries, ImportRun, Instrument
from alphastrat.marketdata.providers.base import BarRequest, Listing, session_day
from alphastrat.marketdata.services.failover import Failover
from alphastrat.marketdata.services.gaps import find_gaps
from alphastrat.quant.calendars import last_bar
from alphastrat.quant.types import Timeframe

TASK = "alphastrat.marketdata.tasks.backfill"


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """Which bars to bring: each symbol's, that open in [start, end)."""

    symbols: tuple[str, ...]
    timeframe: Timeframe
    start: datetime
    end: datetime
    adjustment: str = Adjustment.SPLIT
    with_actions: bool = True

    def __post_init__(self) -> None:
        """Refuse an empty plan."""
        if not self.symbols:
            raise InvalidInput("Name at least one symbol.", fields={"symbols": "Add a symbol."})
        if self.start >= self.end:
            raise InvalidInput(
                "The start is not before the end.", fields={"start": "Choose an earlier date."}
            )

    def arguments(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return {
            "symbols": list(self.symbols),
            "timeframe": self.timeframe.value,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "adjustment": self.adjustment,
            "with_actions": self.with_actions,
        }

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> BackfillPlan:
        """Return the plan that `arguments` wrote down."""
        return cls(
            symbols=tuple(arguments["symbols"]),
            timeframe=Timeframe(arguments["timeframe"]),
            start=datetime.fromisoformat(arguments["start"]),
            end=datetime.fromisoformat(arguments["end"]),
            adjustment=arguments["adjustment"],
            with_actions=arguments["with_actions"],
        )


@dataclass(slots=True)
class BackfillResult:
    """What became of each symbol; it is the checkpoint as well."""

    sources: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    rows_stored: int = 0
    rows_restated: int = 0
    rows_quarantined: int = 0

    def is_done(self, symbol: str) -> bool:
        return symbol in self.sources or symbol in self.failures

    def add(self, symbol: str, run: ImportRun) -> None:
        self.sources[symbol] = run.source
        self.rows_stored += run.rows_stored
        self.rows_restated += run.rows_restated
        self.rows_quarantined += run.rows_quarantined

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


OnSymbol = Callable[[BackfillResult, str], None]


def request_backfill(plan: BackfillPlan, *, owner: Any = None) -> Job:
    """Ask a worker for the backfill."""
    named = ", ".join(plan.symbols[:3]) + ("…" if len(plan.symbols) > 3 else "")
    digest = hashlib.sha256(json.dumps(plan.arguments()).encode()).hexdigest()
    return jobs.enqueue(
        TASK,
        key=f"backfill:{digest[:32]}",
        title=f"Backfill {plan.timeframe} bars of {named}",
        owner=owner,
        plan=plan.arguments(),
    )


def backfill(
    plan: BackfillPlan,
    failover: Failover,
    *,
    at: datetime,
    result: BackfillResult | None = None,
    on_symbol: OnSymbol | None = None,
) -> BackfillResult:
    """Bring the bars of the plan, leaving out what `result` says is done.

    A symbol that no provider can deliver does not stop the others.

    Raises
    ------
    ProviderError
        If providers failed for now and some symbols are left over; what came is stored.
    """
    result = result or BackfillResult()
    postponed: dict[str, ProviderError] = {}
    for listing, currency in _listings(plan.symbols):
        if result.is_done(listing.symbol):
            continue
        try:
            run = _bring(plan, listing, failover, currency=currency, at=at)
        except ProviderError as error:
            if error.permanent:
                result.failures[listing.symbol] = str(error)
            else:
                postponed[listing.symbol] = error
        else:
            result.add(listing.symbol, run)
        if on_symbol is not None:
            on_symbol(result, listing.symbol)
    if postponed:
        symbol, reason = next(iter(postponed.items()))
        raise ProviderError(f"{len(postponed)} symbols are left, {symbol} first. {reason}")
    return result


def _bring(
    plan: BackfillPlan, listing: Listing, failover: Failover, *, currency: str, at: datetime
) -> ImportRun:
    request = closed_bars_only(
        BarRequest(listing, plan.timeframe, plan.start, plan.end, plan.adjustment), at=at
    )
    if request.start >= request.end:
        raise ProviderError(f"No bar of {listing.symbol} closes in that range.", permanent=True)
    run = failover.import_bars(request, at=at, currency=currency)
    touched = BarSeries.objects.filter(
        instrument__symbol=listing.symbol,
        source=run.source,
        timeframe=plan.timeframe.value,
        adjustment=plan.adjustment,
    )
    ids = list(touched.values_list("pk", flat=True))
    rebuild_blocks(ids)
    find_gaps(ids, at=at)
    if plan.with_actions and listing.asset_class == AssetClass.EQUITY:
        failover.import_actions(listing, start=request.first_day(), end=request.last_day())
    return run


def closed_bars_only(request: BarRequest, *, at: datetime) -> BarRequest:
    """Return the request ending with the newest bar that has closed: a vendor sends more."""
    newest = last_bar(request.timeframe, request.listing.exchange, at)
    if newest is None:
        return request
    opened_at, closed_at = newest
    end = closed_at
    if not request.timeframe.is_intraday:
        day = session_day(opened_at, request.listing.exchange)
        end = (pd.Timestamp(day, tz=UTC) + timedelta(days=1)).to_pydatetime()
    return BarRequest(
        request.listing,
        request.timeframe,
        request.start,
        min(request.end, end),
        request.adjustment,
    )


def _listings(symbols: Sequence[str]) -> Iterator[tuple[Listing, str]]:
    known = {one.symbol: one for one in Instrument.objects.filter(symbol__in=symbols)}
    for symbol in symbols:
        one = known.get(symbol)
        if one is None:
            yield Listing(symbol), "USD"
        else:
            yield Listing(symbol, one.exchange, one.asset_class), one.currency
