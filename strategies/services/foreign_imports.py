"""Results of other tools as runs to compare with: looked at first, then stored once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from django.db import IntegrityError, transaction

from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.quant.measures import measure_all
from alphastrat.quant.trade_statistics import trade_statistics
from strategies.models import BacktestRun
from strategies.quant.foreign_account import ForeignResult, Source
from strategies.quant.foreign_results import read_result
from strategies.services import measuring, run_archive
from strategies.services.run_archive import Curves

MAX_BYTES = 20 * 2**20
MAX_UNZIPPED = 100 * 2**20
MAX_MEMBERS = 100
MAX_CAPITAL = 1e12
PLUGIN = "imported"
TIMEFRAMES = {12.0: "1M", 52.0: "1w"}
WHAT_TO_DO = (
    "Choose a returns CSV (pyfolio), a backtest result of freqtrade (JSON or zip), a trade table "
    "of backtesting.py or vectorbt (CSV), or LEAN's result JSON."
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a file holds; `stored` has the run of each result that was imported before."""

    file_name: str
    sha256: str
    results: tuple[ForeignResult, ...]
    stored: tuple[BacktestRun | None, ...]

    @property
    def n_new(self) -> int:
        return sum(run is None for run in self.stored)


@dataclass(frozen=True, slots=True)
class Imported:
    """A stored result, and whether it is new."""

    run: BacktestRun
    is_new: bool


def preview_import(
    owner: Any, content: bytes, *, file_name: str, capital: float | None = None
) -> Preview:
    """Return what a file holds without storing anything; raises InvalidInput with what to do."""
    results = _read(content, capital=capital)
    digest = hashlib.sha256(content).hexdigest()
    keys = [_key(digest, result) for result in results]
    known = {
        run.data_fingerprint: run
        for run in BacktestRun.objects.filter(
            owner=owner, engine=BacktestRun.Engine.IMPORTED, data_fingerprint__in=keys
        ).defer("curves", "trades")
    }
    return Preview(
        Path(file_name).name[:200], digest, tuple(results), tuple(known.get(key) for key in keys)
    )


def import_results(
    owner: Any, content: bytes, *, file_name: str, at: datetime, capital: float | None = None
) -> list[Imported]:
    """Store every result of a file as a run; those that are stored already are left as they are."""
    found = preview_import(owner, content, file_name=file_name, capital=capital)
    return [
        Imported(run, is_new=False)
        if run is not None
        else _store(owner, result, found=found, at=at)
        for result, run in zip(found.results, found.stored, strict=True)
    ]


def _read(content: bytes, *, capital: float | None) -> list[ForeignResult]:
    if not content:
        raise InvalidInput("The file is empty.", fields={"file": WHAT_TO_DO})
    if len(content) > MAX_BYTES:
        raise InvalidInput(
            f"The file is larger than {MAX_BYTES // 2**20} MB.",
            fields={"file": "Import a shorter period, or the result without its extras."},
        )
    if capital is not None and not 0 < capital < MAX_CAPITAL:
        raise InvalidInput(
            "The capital cannot be that.", fields={"capital": "Choose an amount above 0."}
        )
    try:
        return read_result(_unzipped(content), capital=capital)
    except ValueError as error:
        said = str(error)
        raise InvalidInput(
            f"{said[:1].upper()}{said[1:]}.".replace("..", "."), fields={"file": WHAT_TO_DO}
        ) from None


def _unzipped(content: bytes) -> bytes:
    """Return the result inside a zip of freqtrade; anything else as it is.

    Only one member is unpacked, never to disk, and never more of it than the limit, whatever
    size it claims.
    """
    if not content.startswith(b"PK\x03\x04"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = _member(archive)
            with archive.open(member) as file:
                unpacked = file.read(MAX_UNZIPPED + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"the zip cannot be opened: {error}") from None
    if len(unpacked) > MAX_UNZIPPED:
        raise ValueError(f"the zip unpacks to more than {MAX_UNZIPPED // 2**20} MB")
    return unpacked


def _member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"the zip holds {len(members)} files; a result has fewer")
    chosen = [
        member
        for member in members
        if member.filename.endswith(".json")
        and not member.filename.endswith(("_config.json", ".meta.json"))
        and "/" not in member.filename.strip("/")
    ]
    if len(chosen) != 1:
        raise ValueError(f"the zip holds {len(chosen)} results (.json) where one belongs")
    if chosen[0].file_size > MAX_UNZIPPED:
        raise ValueError(f"the zip unpacks to more than {MAX_UNZIPPED // 2**20} MB")
    return chosen[0]


def _key(digest: str, result: ForeignResult) -> str:
    return hashlib.sha256(f"{digest}:{result.source.value}:{result.name}".encode()).hexdigest()


def _store(owner: Any, result: ForeignResult, *, found: Preview, at: datetime) -> Imported:
    key = _key(found.sha256, result)
    try:
        with transaction.atomic():
            return Imported(_create(owner, result, key=key, found=found, at=at), is_new=True)
    except IntegrityError:
        # Imported by another request in the meantime.
        run = BacktestRun.objects.get(
            owner=owner, engine=BacktestRun.Engine.IMPORTED, data_fingerprint=key
        )
        return Imported(run, is_new=False)


def _create(
    owner: Any, result: ForeignResult, *, key: str, found: Preview, at: datetime
) -> BacktestRun:
    curves = _curves(result)
    trips = _trips(result)
    numbers = _numbers(result, curves, trips)
    first, last = curves.times[0].normalize(), curves.times[-1].normalize()
    return BacktestRun.objects.create(
        owner=owner,
        title=_title(result, found.file_name),
        plugin=PLUGIN,
        parameters={},
        symbols=[symbol[:40] for symbol in result.symbols],
        timeframe=TIMEFRAMES.get(result.periods_per_year, "1d"),
        start_at=first.to_pydatetime(),
        end_at=(last + pd.Timedelta(days=1)).to_pydatetime(),
        capital=round(result.capital, 4),
        currency=(result.currency if len(result.currency) == 3 else "USD").upper(),
        engine=BacktestRun.Engine.IMPORTED,
        status=BacktestRun.Status.SUCCEEDED,
        requested_at=at,
        started_at=at,
        finished_at=at,
        data_fingerprint=key,
        n_bars=len(curves.times),
        periods_per_year=result.periods_per_year,
        metrics=jsonable(
            {
                "strategy": numbers,
                "benchmark": measuring.measure_benchmark(
                    curves, periods_per_year=result.periods_per_year
                ),
                "worst_drawdowns": measuring.worst_drawdowns(curves),
                "import": {
                    "source": result.source.value,
                    "name": result.name,
                    "file_name": found.file_name,
                    "sha256": found.sha256,
                    "account_currency": result.currency,
                    "missing": result.missing,
                },
            }
        ),
        findings=[
            {"code": "not_in_the_file", "severity": "note", "text": text, "evidence": {}}
            for text in result.missing
        ],
        curves=run_archive.pack_curves(curves),
        trades=run_archive.pack_trips(trips),
        **measuring.headlines(numbers),
    )


def _title(result: ForeignResult, file_name: str) -> str:
    return f"{result.name or Path(file_name).stem} ({result.source.value})"[:200]


def _curves(result: ForeignResult) -> Curves:
    n = len(result.days)
    undefined = np.full(n, np.nan)
    symbols = result.symbols or ("account",)
    return Curves(
        times=result.days,
        # Commas part the symbols where they are stored.
        symbols=tuple(symbol.replace(",", " ") for symbol in symbols),
        capital=result.capital,
        equity=result.equity,
        benchmark=undefined if result.benchmark is None else result.benchmark,
        gross=undefined,
        net=undefined,
        positions=np.full((n, len(symbols)), np.nan, dtype=np.float32),
    )


def _trips(result: ForeignResult) -> pd.DataFrame:
    """Return the round trips as stored; an open one has no exit time."""
    trips = result.trips.copy()
    days = result.days.normalize()
    for name in ("entry", "exit"):
        rows = days.searchsorted(pd.DatetimeIndex(trips[f"{name}_time"]).normalize())
        trips[f"{name}_bar"] = np.minimum(rows, len(days) - 1).astype(np.int64)
    trips.loc[trips["exit_reason"] == "open", "exit_time"] = pd.NaT
    return trips


def _numbers(result: ForeignResult, curves: Curves, trips: pd.DataFrame) -> dict[str, Any]:
    measured = measure_all(
        curves.returns,
        periods_per_year=result.periods_per_year,
        benchmark=curves.benchmark_returns,
    )
    numbers: dict[str, Any] = {name: float(value) for name, value in measured.items()}
    numbers |= {
        "final_equity": float(curves.equity[-1]),
        "net_profit": float(curves.equity[-1] - curves.capital),
    }
    closed = trips[trips["exit_reason"] != "open"]
    if trips.empty:
        # freqtrade lists every trade, so that none means none.
        is_idle = result.source is Source.FREQTRADE
        return numbers | ({"n_round_trips": 0, "time_in_market": 0.0} if is_idle else {})
    held = (closed["exit_bar"] - closed["entry_bar"]).to_numpy(np.float64)
    numbers |= asdict(trade_statistics(closed["pnl"].to_numpy(), closed["return"].to_numpy(), held))
    return numbers | {
        "n_long": int((closed["side"] == "long").sum()),
        "n_short": int((closed["side"] == "short").sum()),
        "n_open": len(trips) - len(closed),
        "time_in_market": _time_in_market(trips, len(curves.times)),
        "commission_paid": float(trips["commission"].sum(min_count=len(trips))),
    }


def _time_in_market(trips: pd.DataFrame, n_days: int) -> float:
    changes = np.zeros(n_days + 1)
    np.add.at(changes, trips["entry_bar"].to_numpy(), 1.0)
    np.add.at(changes, trips["exit_bar"].to_numpy() + 1, -1.0)
    return float((np.cumsum(changes)[:-1] > 0).mean())


def expires_before(at: datetime) -> datetime:
    """Return the time before which an upload that nobody confirmed is thrown away."""
    return at - timedelta(days=1)
