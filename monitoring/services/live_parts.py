"""Live trading beside its shadow and its promise, for people: which part moved, and how far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.types import FloatArray
from monitoring.quant.checks import Check, CheckState
from monitoring.quant.parts import Parts, parts_of
from monitoring.services.performance_validator import Examined

EXECUTION = ("slippage", "matching", "signals")
EDGE = ("return", "win_rate", "frequency", "drawdown", "envelope")
GRAVITY = (CheckState.FAIL, CheckState.WARN, CheckState.PASS)


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
    """What live trading came to since its evidence began, and what was promised of each."""

    sharpe: float | None
    promised_sharpe: float | None
    max_drawdown: float | None
    worst_promised: float | None
    win_rate: float | None
    promised_win_rate: float | None
    percentile: float | None


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
    rows = (
        Part(
            "Execution",
            "from shadow to live",
            parts.shadow,
            parts.live,
            parts.execution,
            _worst(found.checks, EXECUTION).value,
        ),
        Part(
            "Edge",
            "from promise to shadow",
            parts.promised,
            parts.shadow,
            parts.edge,
            _worst(found.checks, EDGE).value,
        ),
    )
    return LiveParts(parts, rows, _sentence(found.checks, parts))


def live_figures(found: Examined) -> LiveFigures:
    """Return the numbers of the live account beside those of its promise."""
    seen, promise = found.observations, found.observations.promise
    year = math.sqrt(float(promise["periods_per_year"][0]))
    checks = {one.key: one for one in found.checks}
    growth = seen.returns[0][found.kept]
    return LiveFigures(
        sharpe=_known(_sharpe(growth) * year),
        promised_sharpe=_known(promise["sharpe"][0] * year),
        max_drawdown=_least(found.assessment.paths.drawdown[0][found.kept]),
        worst_promised=_known(promise["drawdown_95"][0]),
        win_rate=checks["win_rate"].value,
        promised_win_rate=_known(promise["win_rate"][0]),
        percentile=_known(found.assessment.percentile[0]),
    )


def _worst(checks: Sequence[Check], keys: tuple[str, ...]) -> CheckState:
    states = {one.state for one in checks if one.key in keys}
    return next((one for one in GRAVITY if one in states), CheckState.NOT_RUN)


def _sentence(checks: Sequence[Check], parts: Parts) -> str:
    moved = [
        f"{name} has moved: {_flagged(checks, keys)}"
        for name, keys in (("Execution", EXECUTION), ("The edge", EDGE))
        if _worst(checks, keys) in (CheckState.FAIL, CheckState.WARN)
    ]
    if moved:
        return " ".join(moved)
    return (
        "Neither part has moved further than chance explains: the shadow is "
        f"{abs(parts.departure):.1f} spreads of healthy paths "
        f"{'above' if parts.departure >= 0 else 'below'} its promise."
    )


def _flagged(checks: Sequence[Check], keys: tuple[str, ...]) -> str:
    worst = _worst(checks, keys)
    return next(one.text for one in checks if one.key in keys and one.state is worst)


def _sharpe(returns: FloatArray) -> float:
    known = returns[~np.isnan(returns)]
    deviation = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return float(known.mean()) / deviation if deviation > 0 else math.nan


def _least(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else None


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
