"""Live trading beside its shadow and its promise, for people: which part moved, and how far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.return_measures import sharpe_ratio
from alphastrat.quant.trade_statistics import trade_statistics
from alphastrat.quant.types import FloatArray
from monitoring.quant.checks import Check, CheckState
from monitoring.quant.live_metrics import Curves, curve_values
from monitoring.quant.observations import LiveTrips
from monitoring.quant.parts import Parts, parts_of
from monitoring.quant.status import LEAST_TRIPS
from monitoring.services.performance_validator import Examined

EXECUTION = ("slippage", "matching")
EDGE = ("return", "win_rate", "frequency", "drawdown", "envelope")
FLAGGED = (CheckState.FAIL, CheckState.WARN)
GRAVITY = (*FLAGGED, CheckState.PASS)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the difference, with the worst of the checks that watch it."""

    label: str
    meaning: str
    before: float
    after: float
    difference: float
    state: str


@dataclass(frozen=True, slots=True)
class LiveParts:
    """Both parts, and in words which of them moved."""

    parts: Parts
    rows: tuple[Part, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """What live trading came to since its evidence began, and what was promised of each.

    `tracking_error` is the deviation of live less shadow a year, a fraction. `profit_factor` is
    None before `LEAST_TRIPS` round trips have closed, or without a losing one; `profit_note` says
    which.
    """

    sharpe: float | None
    promised_sharpe: float | None
    max_drawdown: float | None
    worst_promised: float | None
    win_rate: float | None
    promised_win_rate: float | None
    percentile: float | None
    tracking_error: float | None
    profit_factor: float | None
    profit_note: str


def live_parts(found: Examined) -> LiveParts | None:
    """Return execution and edge since the evidence began; None before there is a shadow."""
    seen = found.observations
    horizon = int(seen.envelopes.horizon[0])
    parts = parts_of(
        seen.returns[0][found.kept],
        seen.shadow[0][found.kept],
        seen.envelopes.centre[0][:horizon],
        seen.envelopes.spread[0][:horizon],
    )
    if parts is None:
        return None
    execution, edge = _states(found, parts)
    rows = (
        Part(
            "Execution",
            "from shadow to live",
            parts.shadow,
            parts.live,
            parts.execution,
            execution.value,
        ),
        Part(
            "Edge",
            "from promise to shadow",
            parts.promised,
            parts.shadow,
            parts.edge,
            edge.value,
        ),
    )
    return LiveParts(parts, rows, _sentence(found.checks, parts, execution, edge))


def live_figures(found: Examined) -> LiveFigures:
    """Return the numbers of the live account beside those of its promise."""
    seen, promise = found.observations, found.observations.promise
    per_year = float(promise["periods_per_year"][0])
    checks = {one.key: one for one in found.checks}
    growth = seen.returns[0][found.kept]
    profit_factor, profit_note = _profit_factor(seen.trips, first=int(found.standings.first[0]))
    return LiveFigures(
        sharpe=_known(sharpe_ratio(growth[~np.isnan(growth)], periods_per_year=per_year)),
        promised_sharpe=_known(promise["sharpe"][0] * math.sqrt(per_year)),
        max_drawdown=_least(found.assessment.paths.drawdown[0][found.kept]),
        worst_promised=_known(promise["drawdown_95"][0]),
        win_rate=checks["win_rate"].value,
        promised_win_rate=_known(promise["win_rate"][0]),
        percentile=_known(found.assessment.percentile[0]),
        tracking_error=_tracking_error(found),
        profit_factor=profit_factor,
        profit_note=profit_note,
    )


def _worst(checks: Sequence[Check], keys: tuple[str, ...]) -> CheckState:
    states = {one.state for one in checks if one.key in keys}
    return next((one for one in GRAVITY if one in states), CheckState.NOT_RUN)


def _states(found: Examined, parts: Parts) -> tuple[CheckState, CheckState]:
    """Return how execution and edge stand.

    The checks of the edge look at live returns. Where execution differs, only the shadow tells
    what the edge does.
    """
    execution, edge = _worst(found.checks, EXECUTION), _worst(found.checks, EDGE)
    if execution in FLAGGED:
        edge = CheckState.PASS
    if abs(parts.departure) > found.assessment.band[0] and edge is not CheckState.FAIL:
        edge = CheckState.WARN
    return execution, edge


def _sentence(
    checks: Sequence[Check], parts: Parts, execution: CheckState, edge: CheckState
) -> str:
    side = "above" if parts.departure >= 0 else "below"
    place = f"the shadow is {abs(parts.departure):.1f} spreads of healthy paths {side} its promise"
    words = []
    if execution in FLAGGED:
        words.append(f"Execution has moved: {_flagged(checks, EXECUTION)}")
    elif execution is CheckState.NOT_RUN:
        words.append("Execution cannot be tested yet: too few round trips or fills are known.")
    if edge in FLAGGED:
        live = _flagged(checks, EDGE)
        words.append(f"The edge has moved: {place}." + (f" {live}" if live else ""))
    if words:
        return " ".join(words)
    return f"Neither part has moved further than chance explains: {place}."


def _flagged(checks: Sequence[Check], keys: tuple[str, ...]) -> str:
    """Return the sentence of the gravest of these checks, if any of them is flagged."""
    worst = _worst(checks, keys)
    if worst not in FLAGGED:
        return ""
    return next(one.text for one in checks if one.key in keys and one.state is worst)


def _profit_factor(trips: LiveTrips, *, first: int) -> tuple[float | None, str]:
    """Return gains over losses of the round trips that closed from a bar on, or why not."""
    closed = (trips.exited >= first) & ~np.isnan(trips.returns)
    found = trade_statistics(trips.pnl[closed], trips.returns[closed])
    if found.n_round_trips < LEAST_TRIPS:
        return None, f"Insufficient data: {found.n_round_trips} of {LEAST_TRIPS} round trips."
    if not found.n_losers:
        return None, "No losing round trip has closed."
    return found.profit_factor, f"{found.n_round_trips} round trips"


def _tracking_error(found: Examined) -> float | None:
    curves, kept = Curves.of(found.observations), found.kept
    counted = Curves(
        curves.times[:, kept],
        curves.returns[:, kept],
        curves.exposure[:, kept],
        curves.shadow[:, kept],
        curves.periods_per_year,
    )
    return _known(curve_values(counted, "tracking_error")[0])


def _least(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else None


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
