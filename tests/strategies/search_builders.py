"""Plain functions that make the rows of walk-forward and sweep tests."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from alphastrat.accounts.models import User
from alphastrat.core import jobs
from strategies.models import Sweep, WalkForward
from strategies.services.sweeps import SweepRequest, request_sweep
from strategies.services.walk_forwards import WalkForwardRequest, request_walk_forward
from tests.strategies.builders import asked

SPACE = {"period": {"low": 6, "high": 14, "step": 4}, "oversold": {"values": [25, 30, 35]}}


def wanted(*, symbols: tuple[str, ...] = ("KO",), **changes: Any) -> WalkForwardRequest:
    """Return a walk-forward of nine RSI sets over four folds in two years."""
    own = {name: changes.pop(name) for name in list(changes) if name in FOLD_SETTINGS}
    return WalkForwardRequest(
        asked(symbols=symbols, **changes), **{"space": SPACE, "n_folds": 4, **own}
    )


FOLD_SETTINGS = frozenset(WalkForwardRequest.__dataclass_fields__) - {"specification"}


def make_walk_forward(owner: User, **changes: Any) -> WalkForward:
    """Make a queued walk-forward."""
    return request_walk_forward(owner, wanted(**changes), at=now())


def finished_walk_forward(owner: User, **changes: Any) -> WalkForward:
    """Make a walk-forward through the worker's path."""
    analysis = make_walk_forward(owner, **changes)
    jobs.run_job(str(analysis.job_id))
    analysis.refresh_from_db()
    return analysis


def wanted_sweep(*, symbols: tuple[str, ...] = ("KO",), **changes: Any) -> SweepRequest:
    """Return a sweep of forty-five RSI sets over two years."""
    own = {name: changes.pop(name) for name in list(changes) if name in SWEEP_SETTINGS}
    return SweepRequest(asked(symbols=symbols, **changes), **{"space": SWEEP_SPACE, **own})


SWEEP_SPACE = {
    "period": {"low": 4, "high": 20, "step": 2},
    "oversold": {"low": 20, "high": 40, "step": 5},
}
SWEEP_SETTINGS = frozenset(SweepRequest.__dataclass_fields__) - {"specification"}


def make_sweep(owner: User, **changes: Any) -> Sweep:
    """Make a queued sweep."""
    return request_sweep(owner, wanted_sweep(**changes), at=now())


def finished_sweep(owner: User, **changes: Any) -> Sweep:
    """Make a sweep through the worker's path."""
    sweep = make_sweep(owner, **changes)
    jobs.run_job(str(sweep.job_id))
    sweep.refresh_from_db()
    return sweep
