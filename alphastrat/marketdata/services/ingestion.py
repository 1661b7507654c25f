"""The one way in for bars: fetch, check, COPY into a staging table, merge.

A delivery is merged in one transaction. The same delivery twice adds nothing; a killed worker
leaves no half of it; rows that cannot be trusted are quarantined with their reason, and the good
ones still land.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
from django.db import transaction

from alphastrat.core import events
from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.core.notify import notify
from alphastrat.marketdata.models import (
    Adjustment,
    AssetClass,
    BarSeries,
    ImportRun,
    ImportStatus,
    Instrument,
    QuarantinedRow,
)
from alphastrat.marketdata.quality import PRICES, REASONS, CheckedRows, Seen, check_rows
from alphastrat.marketdata.staging import Merged, Span, StagingTable
from alphastrat.quant.types import Timeframe

logger = logging.getLogger(__name__)

# Beyond this many the reasons repeat themselves; every quarantined row is still counted.
MAX_QUARANTINED_KEPT = 5_000
MAX_DETAIL = 300
# Other processes wake on this channel when bars have changed.
BARS_CHANNEL = "bars_stored"
# Told the number of rows read so far, and what is being done.
OnProgress = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Which series the rows of a delivery belong to, and what unknown symbols are taken for."""

    timeframe: Timeframe
    source: str
    adjustment: str = Adjustment.SPLIT
    exchange: str = "XNYS"
    asset_class: str = AssetClass.EQUITY
    currency: str = "USD"

    @property
    def kind(self) -> dict[str, str]:
        """What its series have in common."""
        return {
            "timeframe": self.timeframe.value,
            "adjustment": self.adjustment,
            "source": self.source,
        }


@dataclass(slots=True)
class _Delivery:
    """What has been seen of a delivery so far."""

    rows_read: int = 0
    n_bad: int = 0
    bad: list[pd.DataFrame] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    series_ids: dict[str, UUID] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    exchanges: dict[str, str] = field(default_factory=dict)
    quiet: set[str] = field(default_factory=set)
    seen: Seen = field(default_factory=Seen)

    def note(self, checked: CheckedRows) -> None:
        for reason, n_rows in checked.bad["reason"].value_counts().items():
            self.reasons[str(reason)] = self.reasons.get(str(reason), 0) + int(n_rows)
        room = max(0, MAX_QUARANTINED_KEPT - self.n_bad)
        self.n_bad += len(checked.bad)
        if room and len(checked.bad):
            self.bad.append(checked.bad.head(room))


def ingest(
    batches: Iterable[pd.DataFrame],
    *,
    run: ImportRun,
    target: Target,
    at: datetime,
    on_progress: OnProgress = lambda _n_rows, _step: None,
) -> ImportRun:
    """Check and store a delivery, and write on `run` what became of it.

    Parameters
    ----------
    batches : iterable of DataFrame
        Columns row_number, symbol, time, open, high, low, close, volume; `time` is the session
        date without zone from one day upwards and the opening time in UTC below.
    at : datetime
        The present; bars that close later are not accepted.

    Raises
    ------
    InvalidInput
        If no row can be used; nothing is stored then, and `run` keeps the reasons.
    """
    delivery = _Delivery()
    staging = StagingTable(run.pk)
    staging.create()
    try:
        for batch in batches:
            _stage(batch, delivery, staging, target=target, at=at)
            on_progress(delivery.rows_read, "Reading and checking rows")
        if delivery.rows_read == delivery.n_bad:
            _keep_reasons(run, delivery)
            raise _nothing_usable(delivery)
        on_progress(delivery.rows_read, "Storing bars")
        return _merge(run, delivery, staging, target=target, at=at)
    finally:
        staging.drop()


def _stage(
    batch: pd.DataFrame,
    delivery: _Delivery,
    staging: StagingTable,
    *,
    target: Target,
    at: datetime,
) -> None:
    _know_instruments(batch["symbol"], delivery, target)
    checked = check_rows(
        batch,
        timeframe=target.timeframe,
        exchanges=delivery.exchanges,
        zero_volume_allowed=frozenset(delivery.quiet),
        at=at,
        seen=delivery.seen,
    )
    delivery.rows_read += len(batch)
    delivery.note(checked)
    if len(checked.good):
        _know_series(checked.good["symbol"], delivery, target)
        staging.add(checked.good, delivery.series_ids)


def _know_instruments(symbols: pd.Series, delivery: _Delivery, target: Target) -> None:
    """Know the calendar of every symbol; an unknown one is taken for what `target` says."""
    new = [str(s) for s in symbols.dropna().unique() if str(s) not in delivery.exchanges]
    if not new:
        return
    delivery.exchanges.update(dict.fromkeys(new, target.exchange))
    if target.asset_class == AssetClass.FX:
        delivery.quiet.update(new)
    for one in Instrument.objects.filter(symbol__in=new):
        delivery.exchanges[one.symbol] = one.exchange
        is_quiet = one.asset_class == AssetClass.FX
        (delivery.quiet.add if is_quiet else delivery.quiet.discard)(one.symbol)


def _know_series(symbols: pd.Series, delivery: _Delivery, target: Target) -> None:
    """Have an id for every symbol with a usable bar; the merge makes the series that are missing.

    Nothing is made before that: a delivery that breaks off half way leaves nothing behind.
    """
    new = [str(s) for s in symbols.unique() if str(s) not in delivery.series_ids]
    if not new:
        return
    known = _stored_series(new, target)
    delivery.series_ids.update({symbol: known.get(symbol) or uuid4() for symbol in new})
    delivery.missing.extend(symbol for symbol in new if symbol not in known)


def _create_missing(delivery: _Delivery, staging: StagingTable, target: Target) -> None:
    # In one order everywhere, so that two deliveries at once do not wait for each other.
    symbols = sorted(delivery.missing)
    fresh = [
        Instrument(
            symbol=symbol,
            exchange=target.exchange,
            asset_class=target.asset_class,
            currency=target.currency,
        )
        for symbol in symbols
    ]
    Instrument.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=5_000)
    planned = [
        BarSeries(pk=delivery.series_ids[one.symbol], instrument=one, **target.kind)
        for one in Instrument.objects.filter(symbol__in=symbols)
    ]
    BarSeries.objects.bulk_create(planned, ignore_conflicts=True, batch_size=5_000)
    stored = _stored_series(symbols, target)
    # Another delivery may have made the same series in the meantime.
    renamed = {delivery.series_ids[s]: pk for s, pk in stored.items()}
    staging.rename({ours: theirs for ours, theirs in renamed.items() if ours != theirs})
    delivery.series_ids.update(stored)


def _stored_series(symbols: Sequence[str], target: Target) -> dict[str, UUID]:
    found = BarSeries.objects.filter(instrument__symbol__in=symbols, **target.kind)
    return dict(found.values_list("instrument__symbol", "id"))


@transaction.atomic
def _merge(
    run: ImportRun, delivery: _Delivery, staging: StagingTable, *, target: Target, at: datetime
) -> ImportRun:
    if delivery.missing:
        _create_missing(delivery, staging, target)
    merged = staging.merge(at=at)
    _keep_quarantined(run, delivery)
    _finish(run, delivery, merged, at=at)
    _tell(merged)
    return run


@transaction.atomic
def _keep_reasons(run: ImportRun, delivery: _Delivery) -> None:
    _keep_quarantined(run, delivery)
    run.rows_read, run.rows_quarantined = delivery.rows_read, delivery.n_bad
    run.report = _report(delivery)
    run.save(update_fields=["rows_read", "rows_quarantined", "report"])


def _nothing_usable(delivery: _Delivery) -> InvalidInput:
    if not delivery.rows_read:
        return InvalidInput("There are no rows of bars in it.", fields={"file": "Add rows."})
    reason, n_rows = max(delivery.reasons.items(), key=lambda item: item[1])
    n_read = delivery.rows_read
    most = "All for one reason:" if n_rows == n_read else f"{n_rows:,} of them for one reason:"
    subject = "The only row cannot" if n_read == 1 else f"None of the {n_read:,} rows can"
    return InvalidInput(
        f"{subject} be used; nothing was stored.",
        fields={"file": f"{most} {REASONS[reason][0].lower()}{REASONS[reason][1:]}"},
    )


def _finish(run: ImportRun, delivery: _Delivery, merged: Merged, *, at: datetime) -> None:
    run.status, run.finished_at = ImportStatus.SUCCEEDED, at
    run.rows_read = delivery.rows_read
    run.rows_stored, run.rows_restated = merged.n_new, merged.n_restated
    run.rows_unchanged = merged.n_staged - merged.n_new - merged.n_restated
    run.rows_quarantined = delivery.n_bad
    run.report = _report(delivery)
    run.save()
    run.series.set(delivery.series_ids.values())  # type: ignore[arg-type]  # keys will do
    logger.debug(
        "bars ingested",
        extra={"import": str(run.pk), "new": merged.n_new, "restated": merged.n_restated},
    )


def _report(delivery: _Delivery) -> dict[str, Any]:
    return {"reasons": delivery.reasons, "symbols": len(delivery.series_ids)}


def _keep_quarantined(run: ImportRun, delivery: _Delivery) -> None:
    QuarantinedRow.objects.filter(import_run=run).delete()
    rows = [
        _quarantined(run, record) for frame in delivery.bad for record in frame.to_dict("records")
    ]
    QuarantinedRow.objects.bulk_create(rows, batch_size=2_000)


def _quarantined(run: ImportRun, record: Mapping[Any, Any]) -> QuarantinedRow:
    time = record["time"]
    values = {name: record[name] for name in (*PRICES, "volume")}
    values["time"] = None if pd.isna(time) else str(time).removesuffix(" 00:00:00")
    opened_at = record["opened_at"]
    return QuarantinedRow(
        import_run=run,
        row_number=record["row_number"],
        symbol="" if pd.isna(record["symbol"]) else str(record["symbol"])[:40],
        opened_at=None if pd.isna(opened_at) else opened_at.to_pydatetime(),
        values=jsonable(values),
        reason=record["reason"],
        detail=_detail(record),
    )


def _detail(record: Mapping[Any, Any]) -> str:
    """Say with the row's own numbers what is wrong with it."""
    reason = record["reason"]
    said = {
        "high_below_low": f"high {record['high']:g} is below low {record['low']:g}.",
        "outside_range": f"open {record['open']:g} or close {record['close']:g} lies outside "
        f"{record['low']:g} to {record['high']:g}.",
        "no_volume": f"{_absent(record) or 'volume is {:g}'.format(record['volume'])}.",
        "outside_calendar": f"the exchange has no bar of {_time_text(record['time'])}.",
        "future": f"the bar of {_time_text(record['time'])} has not closed yet.",
        "absent_price": f"{_absent(record)}.",
    }.get(reason)
    return (said or REASONS[reason])[:MAX_DETAIL]


def _absent(record: Mapping[Any, Any]) -> str:
    """Name the numbers a row lacks, and what stands in their place."""
    unread = record.get("unread")
    if isinstance(unread, str):
        return f"no number: {unread}"
    absent = [name for name in (*PRICES, "volume") if pd.isna(record[name])]
    return f"missing: {', '.join(absent)}" if absent else ""


def _time_text(time: Any) -> str:
    """Write a session date with its weekday, and an instant as it is."""
    return f"{time:%A %-d %B %Y}" if time.tzinfo is None else f"{time:%Y-%m-%d %H:%M} UTC"


def _tell(merged: Merged) -> None:
    for signal, spans in (
        (events.bars_stored, merged.new),
        (events.bars_restated, merged.restated),
    ):
        if spans:
            events.send_on_commit(signal, **_period(spans))
    if merged.new or merged.restated:
        notify(BARS_CHANNEL)


def _period(spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "series_ids": [str(span.series_id) for span in spans],
        "start": min(span.start for span in spans),
        "end": max(span.end for span in spans),
    }
