"""What a walk-forward says, in words: whether its parameters carry over to unseen bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alphastrat.core.formatting import percent, ratio
from strategies.models import WalkForward

PASSES, CAUTION = 0.5, 0.3
LEAST_FOLDS, LEAST_TRIPS = 6, 30

Finding = dict[str, str]


def efficiency_range(analysis: WalkForward) -> tuple[float, float] | None:
    """Return the lowest and highest efficiency over the folds where it is defined."""
    known = [fold["efficiency"] for fold in analysis.folds if fold["efficiency"] is not None]
    return (min(known), max(known)) if known else None


def judge(analysis: WalkForward) -> tuple[str, list[Finding]]:
    """Return a status and findings in words, the verdict first."""
    status, verdict = _efficiency(analysis)
    findings = [verdict, _out_of_sample(analysis)]
    findings += _evidence(analysis)
    findings += _drift(analysis)
    if paths := _paths(analysis):
        findings.append(paths)
    return status, findings


def drift_of(values: Sequence[Any], levels: Sequence[Any]) -> float | None:
    """Return the mean step from fold to fold as a share of the axis; None for choices."""
    numbers = [value for value in values if isinstance(value, int | float)]
    span = [level for level in levels if isinstance(level, int | float)]
    if len(numbers) < 2 or len(numbers) != len(values) or len(span) < 2 or max(span) == min(span):
        return None
    return float(np.abs(np.diff(numbers)).mean() / (max(span) - min(span)))


def _efficiency(analysis: WalkForward) -> tuple[str, Finding]:
    if analysis.efficiency is None:
        return "insufficient_data", _finding(
            "warning",
            "No fold earned anything in sample, so that there is no efficiency to speak of: the "
            "strategy has no edge to lose on these ranges.",
        )
    value = float(analysis.efficiency)
    shown, half = percent(value, 0).text, _half(analysis)
    if value >= PASSES:
        words = f"{half} kept {shown} or more of their in-sample return: it passes."
        return "pass", _finding("note", words)
    if value >= CAUTION:
        words = f"{half} kept only {shown} of their in-sample return: be careful."
        return "warn", _finding("warning", words)
    kept = f"kept {shown} or less of their in-sample return" if value > 0 else "lost out of sample"
    words = f"{half} {kept}: the parameters fit the past and do not carry over."
    return "fail", _finding("error", words)


def _half(analysis: WalkForward) -> str:
    """Name the half that a median speaks of: folds that earned in sample have an efficiency."""
    n_known = sum(fold["efficiency"] is not None for fold in analysis.folds)
    if n_known == len(analysis.folds):
        return "Half of the folds"
    if n_known == 1:
        return "The one fold that earned in sample"
    return f"Half of the {n_known} folds that earned in sample"


def _out_of_sample(analysis: WalkForward) -> Finding:
    won = sum(fold["out_of_sample_return"] > 0 for fold in analysis.folds)
    share = won / len(analysis.folds)
    words = f"{won} of {len(analysis.folds)} folds earned money out of sample."
    return _finding("note" if share >= 0.5 else "warning", words)


def _evidence(analysis: WalkForward) -> list[Finding]:
    findings = []
    if len(analysis.folds) < LEAST_FOLDS:
        words = f"{len(analysis.folds)} folds are few; from {LEAST_FOLDS} on a median means more."
        findings.append(_finding("warning", words))
    trips = [fold["n_trips"] for fold in analysis.folds]
    few = sum(count < LEAST_TRIPS for count in trips)
    if few:
        words = (
            f"{few} of {len(trips)} folds have fewer than {LEAST_TRIPS} round trips out of sample "
            f"(the fewest {min(trips)}): their numbers are mostly chance. Take longer folds, a "
            "shorter timeframe or more instruments."
        )
        findings.append(_finding("warning", words))
    return findings


def _drift(analysis: WalkForward) -> list[Finding]:
    chosen = [tuple(sorted(fold["parameters"].items())) for fold in analysis.folds]
    n_choices = len({str(choice) for choice in chosen})
    if n_choices == 1:
        return [_finding("note", "Every fold chose the same parameters.")]
    level = "warning" if n_choices > len(chosen) / 2 else "note"
    words = f"{len(chosen)} folds chose {n_choices} different sets of parameters."
    if level == "warning":
        words += " What is best keeps moving: a sign of fitting noise."
    return [_finding(level, words)]


def _paths(analysis: WalkForward) -> Finding | None:
    paths = analysis.summary.get("paths")
    known = [value for value in (paths or {}).get("sharpes", []) if value is not None]
    if not known:
        return None
    level = "note" if min(known) > 0 else "warning"
    return _finding(
        level,
        f"Tested in {paths['n_splits']} other splits of the same bars (combinatorial, purged), the "
        f"{len(known)} out-of-sample paths have Sharpe ratios from {ratio(min(known))} to "
        f"{ratio(max(known))}, the median {ratio(float(np.median(known)))}.",
    )


def _finding(severity: str, text: str) -> Finding:
    return {"severity": severity, "text": text}
