"""What a sweep says, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphastrat.core.formatting import percent, ratio
from strategies.models import Sweep
from strategies.services.search_space import axis_label

AMBER, RED = 0.7, 0.4
GOOD_PBO, BAD_PBO = 0.1, 0.5
PASSING = 0.95

Finding = dict[str, str]


def find(sweep: Sweep, luck: Mapping[str, Any] | None) -> list[Finding]:
    """Return findings in words: plateau or spike, edges, overfitting, luck."""
    best, plateau = sweep.summary["best"], sweep.summary["plateau"]
    findings = [_plateau(best, plateau)]
    findings += _edges(sweep, plateau)
    findings += _overfitting(sweep.summary.get("overfitting"))
    findings += _luck(luck)
    few = plateau["metrics"]["n_trips"] or 0
    if few < 30:
        words = f"The steadiest set has only {few:,.0f} round trips: too few to trust its ratio."
        findings.append(_finding("warning", words))
    return findings


def stability_words(chosen: Mapping[str, Any]) -> str:
    """Return in one word whether a set stands on a plateau or a spike."""
    value = chosen["stability"]["ratio"]
    if value is None:
        return "unknown"
    return "plateau" if value >= AMBER else "slope" if value >= RED else "spike"


def _plateau(best: Mapping[str, Any], plateau: Mapping[str, Any]) -> Finding:
    value = best["stability"]["ratio"]
    if value is None:
        return _finding(
            "warning", "The best set does not earn anything, or has no neighbour to compare with."
        )
    kept = percent(value, 0).text
    if best["number"] == plateau["number"] and value >= AMBER:
        words = f"The best set stands on a plateau: its neighbours keep {kept} of its value."
        return _finding("note", words)
    if value >= AMBER:
        words = (
            f"The neighbours of the best set keep {kept} of its value, yet the steadiest "
            "neighbourhood lies elsewhere; the set there is the one to take."
        )
        return _finding("note", words)
    word, level = ("slope", "warning") if value >= RED else ("spike", "error")
    words = (
        f"The best set is a {word}: its neighbours keep only {kept} of its value. Take the set in "
        "the middle of the steadiest neighbourhood instead."
    )
    return _finding(level, words)


def _edges(sweep: Sweep, plateau: Mapping[str, Any]) -> list[Finding]:
    if not plateau["edges"]:
        return []
    names = ", ".join(axis_label(sweep.plugin, name) for name in plateau["edges"])
    words = (
        f"The chosen set lies on the edge of the grid ({names}): better values may lie beyond it. "
        "Widen the range."
    )
    return [_finding("warning", words)]


def _overfitting(found: Mapping[str, Any] | None) -> list[Finding]:
    if not found:
        words = "Too few sets or bars to estimate the probability of overfitting."
        return [_finding("warning", words)]
    value = found["probability"]
    sampled = f" (of {found['n_trials']:,} sets spread over the sweep)"
    if value <= GOOD_PBO:
        words = f"The probability of overfitting is {percent(value, 0)}: low{sampled}."
        return [_finding("note", words)]
    if value <= BAD_PBO:
        words = f"The probability of overfitting is {percent(value, 0)}: be careful{sampled}."
        return [_finding("warning", words)]
    words = (
        f"The probability of overfitting is {percent(value, 0)}: what is best here tends to be "
        f"worse than most on other bars{sampled}."
    )
    return [_finding("error", words)]


def _luck(luck: Mapping[str, Any] | None) -> list[Finding]:
    if luck is None:
        return []
    value = luck["deflated"]
    words = (
        f"After {luck['n_trials']:,} looks at this hypothesis, the best of which would reach a "
        f"Sharpe ratio of {ratio(luck['luck'])} by luck alone, the best set's is real with a "
        f"probability of {percent(value, 0)}"
    )
    if value >= PASSING:
        return [_finding("note", f"{words}: it passes.")]
    return [_finding("warning", f"{words}; 95% would pass.")]


def _finding(severity: str, text: str) -> Finding:
    return {"severity": severity, "text": text}
