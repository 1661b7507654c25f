"""Begin and end silences; `muting` says what they mute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alphastrat.core.errors import ConflictError, InvalidInput
from monitoring.models import Silence

MATCHERS = ("severity", "metric", "source", "strategy", "portfolio", "rule", "group")


def begin(owner: Any, silence: Silence, matchers: Mapping[str, Any]) -> Silence:
    """Store a checked silence of `owner`; without matchers it mutes everything of theirs."""
    unknown = set(matchers) - set(MATCHERS)
    if unknown:
        name = sorted(unknown)[0]
        known = ", ".join(MATCHERS)
        raise InvalidInput(f"{name} cannot be matched.", fields={"matchers": f"Known: {known}."})
    if silence.ends_at <= silence.starts_at:
        wrong = "This must be after the beginning."
        raise InvalidInput(wrong, fields={"ends_at": wrong})
    silence.owner, silence.matchers = owner, dict(matchers)
    silence.save()
    return silence


def end(silence: Silence, *, at: datetime) -> None:
    """End a silence now; one that has not begun is taken back."""
    if silence.ends_at <= at:
        raise ConflictError("This silence is over already.")
    if silence.starts_at >= at:
        silence.delete()
        return
    silence.ends_at = at
    silence.save(update_fields=["ends_at"])
