"""What a false-alarm budget means for one strategy: levels, and how long a loss goes unseen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from monitoring.models import Expectation
from monitoring.quant import budget as budgets
from monitoring.services import packing
from monitoring.services.expectations import reference_returns

LOSSES = ((0.5, "Half of the edge"), (1.0, "All of the edge"), (2.0, "Turned into a loss as large"))


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a loss of edge takes to be found; None beyond ten years."""

    label: str
    loss: float
    bars: float | None
    bars_nine_tenths: float | None
    years: float | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """A budget as it works out for one strategy."""

    budget: float
    level: float | None
    band: float
    delays: tuple[Delay, ...]


def sensitivity(expectation: Expectation, *, budget: float) -> Sensitivity:
    """Return what a number of false alarms per year means for a strategy.

    The delay is that of the detector of the mean return alone: fills, missed fills and drawdowns
    are noticed sooner. A reference that earned nothing has no edge to lose, and no delays.
    """
    levels = packing.unpack_levels(expectation.envelope)
    wanted = np.array([budget])
    log_level = float(budgets.levels_of_budget(levels.log_levels[None], wanted)[0, budgets.RETURN])
    floor = expectation.summary["scalars"].get("mean_floor")
    rng = np.random.default_rng(expectation.seed)
    return Sensitivity(
        budget=budget,
        level=math.exp(log_level) if math.isfinite(log_level) else None,
        band=float(budgets.band_coverage(wanted)[0]),
        delays=tuple(
            _delay(expectation, label, loss, floor, log_level, rng)
            for loss, label in LOSSES
            if (expectation.summary["scalars"].get("mean") or 0.0) > 0.0
        ),
    )


def _delay(
    expectation: Expectation,
    label: str,
    loss: float,
    floor: float | None,
    log_level: float,
    rng: np.random.Generator,
) -> Delay:
    half, most = math.inf, math.inf
    if floor is not None:
        years = expectation.periods_per_year
        half, most = budgets.detection_delay(
            reference_returns(expectation),
            loss=loss,
            mean_floor=floor,
            log_level=log_level,
            rng=rng,
            n_paths=200,
            n_bars=min(round(10 * years), 2_520),
        )
    return Delay(
        label=label,
        loss=loss,
        bars=_known(half),
        bars_nine_tenths=_known(most),
        years=_known(half / expectation.periods_per_year),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
