"""The words, shapes and tones of every status the product shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Status:
    """How a status looks: a word, a shape that differs without colour, and a tone."""

    word: str
    shape: str
    tone: str


def _statuses(shape: str, tone: str, **words: str) -> dict[str, Status]:
    return {key: Status(word, shape, tone) for key, word in words.items()}


STATUSES: dict[str, Status] = {
    **_statuses("disc", "success", active="Active", ok="OK", verified="Verified", live="Live"),
    **_statuses("check", "success", succeeded="Succeeded", resolved="Resolved", done="Done"),
    **_statuses("check", "success", completed="Completed", executed="Executed", sent="Sent"),
    **_statuses("check", "success", approved="Approved", filled="Filled", complete="Complete"),
    **_statuses("disc", "success", **{"pass": "Pass"}),
    **_statuses("triangle", "warning", degraded="Degraded", warn="Warn", warning="Warning"),
    **_statuses("triangle", "warning", watch="Watch", partial="Partial", reducing="Reducing"),
    **_statuses("triangle", "warning", late="Late", quarantined="Quarantined"),
    **_statuses("cross", "error", failed="Failed", fail="Fail", error="Error", firing="Firing"),
    **_statuses("cross", "error", critical="Critical", rejected="Rejected", denied="Denied"),
    **_statuses("cross", "error", breach="Breach", halted="Halted"),
    **_statuses("bars", "muted", paused="Paused", silenced="Silenced", disabled="Off"),
    **_statuses("ring", "info", pending="Pending", queued="Queued", open="Open", draft="Draft"),
    **_statuses("ring", "info", proposed="Proposed", acknowledged="Acknowledged"),
    **_statuses("half", "info", working="Working", sending="Sending"),
    **_statuses("bars", "muted", muted="Muted"),
    **_statuses("cross", "error", dead="Given up"),
    **_statuses("check", "success", recorded="Recorded", fills="Fills fetched", gone="Agreed"),
    **_statuses("check", "success", accepted="Accepted"),
    **_statuses("dash", "muted", known="Known already"),
    **_statuses("cross", "error", refused="Refused"),
    **_statuses("half", "info", running="Running", info="Info"),
    **_statuses("ring", "info", research="Research"),
    **_statuses("check", "success", validated="Validated"),
    **_statuses("half", "info", paper="Paper", monitoring="Monitoring"),
    **_statuses("bars", "warning", suspended="Suspended"),
    **_statuses("square", "muted", stale="Stale", stopped="Stopped", retired="Retired"),
    **_statuses("dash", "muted", not_run="Not run", no_data="No data", cancelled="Cancelled"),
    **_statuses("dash", "muted", insufficient_data="Insufficient data", expired="Expired"),
    **_statuses("dash", "muted", insufficient="Insufficient data"),
    **_statuses("dash", "muted", unknown="Unknown", archived="Archived", skipped="Skipped"),
    **_statuses("up", "profit", buy="Buy", long="Long"),
    **_statuses("down", "loss", sell="Sell", short="Short"),
    **_statuses("square", "muted", hold="Hold", flat="Flat"),
}

CONNECTIONS = {
    "connecting": "Connecting",
    "live": "Live",
    "stale": "Stale",
    "offline": "Offline",
    "paused": "Paused",
    "none": "Not live",
}


def key_of(status: object) -> str:
    """Return the key of a status, however it is written."""
    return str(status).lower().replace("-", "_").replace(" ", "_")
