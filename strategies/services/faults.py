"""What is wrong with a backtest: everything a trader should know before believing it."""

from __future__ import annotations

from typing import Any

from strategies.services.market import Market


def find_faults(*, loaded: Market, warmup_bars: int, n_trades: int) -> list[dict[str, Any]]:
    """Return the findings of a run as JSON documents, the gravest first."""
    found = []
    if n_trades == 0:
        found.append(
            _finding(
                "no_trades",
                "critical",
                "The strategy never traded.",
                "No entry condition was met in this period. Widen the thresholds, take a longer "
                "period or more instruments.",
            )
        )
    if loaded.offset < warmup_bars:
        found.append(
            _finding(
                "short_warm_up",
                "warning",
                f"Only {loaded.offset} of {warmup_bars} warm-up bars lie before the period.",
                "Early signals depend on where the bars begin. Start later to make them settle.",
            )
        )
    return found


def _finding(code: str, severity: str, title: str, detail: str) -> dict[str, Any]:
    return {"code": code, "severity": severity, "title": title, "detail": detail}
