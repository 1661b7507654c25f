"""What a validated strategy promises: frozen once from its best evidence, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from django.db import transaction

from alphastrat.core.errors import ConflictError, InvalidInput, NotEnoughData
from alphastrat.core.jsonable import jsonable
from alphastrat.quant.types import FloatArray
from monitoring.models import Expectation, Verification
from monitoring.quant.expectations import Expected, ReferenceTrips, expected_of
from monitoring.quant.status import LEAST_REFERENCE_BARS
from monitoring.services import packing
from strategies.models import BacktestRun, Strategy, StrategyVersion, WalkForward
from strategies.services import run_archive
from strategies.services.lifecycle import COMPARED
from strategies.services.trials import count_trials
from strategies.services.walk_forwards import equity_frame


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """The series that is promised, and where it comes from."""

    returns: FloatArray
    trips: ReferenceTrips
    exposure: float
    periods_per_year: float
    first: datetime
    last: datetime
    run: BacktestRun | None
    walk_forward: WalkForward | None

    @property
    def source(self) -> BacktestRun | WalkForward:
        source = self.walk_forward or self.run
        if source is None:
            raise InvalidInput("An expectation needs a backtest or a walk-forward.")
        return source


def freeze(
    strategy: Strategy,
    *,
    run: BacktestRun | None = None,
    walk_forward: WalkForward | None = None,
    at: datetime,
    by: Any = None,
) -> Expectation:
    """Freeze what the current version of a strategy promises; it becomes the current one.

    Without a choice the newest walk-forward of the version is taken, whose record is out of
    sample, else its newest backtest. A walk-forward keeps no round trips: those of a backtest of
    the same version in the same period stand in for them.

    Raises NotEnoughData where there is nothing to promise from, ConflictError for a source of
    another strategy.
    """
    version = strategy.current_version
    if version is None:
        raise NotEnoughData("The strategy has no version yet.", needed=1, available=0)
    reference = _reference(version, run=run, walk_forward=walk_forward)
    counted = count_trials(reference.source, span=reference.last - reference.first)
    # Frozen from the same evidence twice, it is the same: the seed comes from the source.
    seed = reference.source.pk.int % 2**32
    expected = expected_of(
        reference.returns,
        reference.trips,
        periods_per_year=reference.periods_per_year,
        rng=np.random.default_rng(seed),
        exposure=reference.exposure,
        n_trials=max(counted.n_trials, 1),
        sharpe_variance=counted.sharpe_variance_per_bar,
    )
    return _store(strategy, version, reference, expected, seed=seed, at=at, by=by)


def reference_returns(expectation: Expectation) -> FloatArray:
    """Return the frozen returns per bar."""
    return np.frombuffer(expectation.returns, "<f8")


@transaction.atomic
def _store(
    strategy: Strategy,
    version: StrategyVersion,
    reference: _Reference,
    expected: Expected,
    *,
    seed: int,
    at: datetime,
    by: Any,
) -> Expectation:
    Strategy.objects.select_for_update().get(pk=strategy.pk)
    Expectation.objects.filter(strategy=strategy, is_current=True).update(is_current=False)
    made = Expectation.objects.create(
        strategy=strategy,
        version=version,
        run=None if reference.walk_forward else reference.run,
        walk_forward=reference.walk_forward,
        is_out_of_sample=reference.walk_forward is not None,
        frozen_at=at,
        frozen_by=by,
        seed=seed,
        n_bars=len(reference.returns),
        n_trades=len(reference.trips.returns),
        periods_per_year=reference.periods_per_year,
        returns=reference.returns.astype("<f8").tobytes(),
        envelope=packing.pack_expected(expected),
        summary=jsonable({**expected.summary(), "first": reference.first, "last": reference.last}),
    )
    Verification.objects.update_or_create(strategy=strategy, defaults={"expectation": made})
    return made


def _reference(
    version: StrategyVersion, *, run: BacktestRun | None, walk_forward: WalkForward | None
) -> _Reference:
    runs = BacktestRun.objects.succeeded().filter(strategy_version=version)
    if run is None and walk_forward is None:
        analyses = WalkForward.objects.filter(strategy_version=version, status="succeeded")
        walk_forward = analyses.order_by("-finished_at").first()
    for source in (run, walk_forward):
        if source is not None and not _is_of(source, version):
            raise ConflictError(f"{source} is not of the current version of this strategy.")
    if run is None:
        run = runs.order_by("-n_bars", "-finished_at").first()
    if run is None or run.curves is None or run.trades is None:
        raise NotEnoughData(
            "There is no backtest of this version to promise from; run one first.",
            needed=LEAST_REFERENCE_BARS,
            available=0,
        )
    curves = run_archive.unpack_curves(run.curves)
    times, returns = curves.times, curves.returns
    if walk_forward is not None:
        frame = equity_frame(walk_forward)
        times, returns = pd.DatetimeIndex(frame["time"]), frame["return"].to_numpy(np.float64)
    known = np.isfinite(returns) & (returns > -1.0)
    first, last = times[0].to_pydatetime(), times[-1].to_pydatetime()
    inside = (curves.times >= pd.Timestamp(first)) & (curves.times <= pd.Timestamp(last))
    return _Reference(
        returns=np.asarray(returns[known], np.float64),
        trips=_trips(run_archive.unpack_trips(run.trades), first=first, last=last),
        exposure=float((curves.gross[inside] > 0).mean()) if inside.any() else float("nan"),
        periods_per_year=float(
            (walk_forward.periods_per_year if walk_forward else run.periods_per_year) or 252.0
        ),
        first=first,
        last=last,
        run=run,
        walk_forward=walk_forward,
    )


def _is_of(source: BacktestRun | WalkForward, version: StrategyVersion) -> bool:
    if source.strategy_version_id == version.pk:
        return True
    compared = [name for name in COMPARED if name != "parameters"]
    same = all(getattr(source, name) == getattr(version, name) for name in compared)
    return same and source.owner_id == version.strategy.owner_id


def _trips(frame: pd.DataFrame, *, first: datetime, last: datetime) -> ReferenceTrips:
    if frame.empty:
        return ReferenceTrips()
    closed = frame["exit_time"].notna()
    inside = (frame["entry_time"] >= first) & (frame["exit_time"] <= last)
    kept = frame[closed & inside]
    value = (kept["quantity"] * kept["entry_price"]).to_numpy(np.float64)
    return ReferenceTrips(
        returns=kept["return"].to_numpy(np.float64),
        bars_held=(kept["exit_bar"] - kept["entry_bar"]).to_numpy(np.float64),
        commission_bps=kept["commission"].to_numpy(np.float64) / value * 1e4,
        slippage_bps=kept["slippage"].to_numpy(np.float64) / value * 1e4,
    )
