"""Is everything well? One list of checks for the command, the System page and /readyz."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alphastrat.core.doctor import operation, servers, software
from alphastrat.core.doctor.finding import Check, Finding, Verdict

__all__ = [
    "EVERYTHING",
    "OPERATION",
    "READINESS",
    "Finding",
    "Verdict",
    "add_check",
    "run_checks",
    "worst",
]

# What a process cannot answer requests without.
READINESS: tuple[Check, ...] = (servers.database, servers.migrations)
# What changes while we run and can be asked within a page's time.
OPERATION: tuple[Check, ...] = (
    servers.database,
    servers.migrations,
    servers.timescaledb,
    servers.broker,
    servers.channel_layer,
    operation.worker,
    operation.monitor,
    operation.feed,
    servers.clock,
    operation.disk,
    operation.provider_keys,
)
EVERYTHING: tuple[Check, ...] = (software.python, software.libraries, *OPERATION, operation.mail)
_added: list[Check] = []


def add_check(check: Check) -> None:
    """Let an app above watch its own part: asked with OPERATION and with EVERYTHING."""
    _added.append(check)


def run_checks(checks: Sequence[Check] = EVERYTHING, *, at: datetime) -> list[Finding]:
    """Return what each check finds, in order; a check never raises for what it looks for."""
    added = _added if checks in (OPERATION, EVERYTHING) else []
    return [check(at) for check in (*checks, *added)]


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the gravest status among `findings`."""
    return max((finding.status for finding in findings), key=list(Verdict).index)
