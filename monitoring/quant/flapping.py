"""Tell a breach that comes and goes from one that is over."""

from __future__ import annotations

from collections.abc import Sequence

FLAPPING_SECONDS = 3_600.0
FLAPPING_EPISODES = 3
CALM_SECONDS = 900.0


def is_flapping(
    ages: Sequence[float],
    *,
    within: float = FLAPPING_SECONDS,
    episodes: int = FLAPPING_EPISODES,
) -> bool:
    """Return whether an episode that opens now makes its cause flap.

    Parameters
    ----------
    ages : sequence of float
        Seconds since each earlier episode of the cause ended.
    within : float
        How far back episodes count, seconds.
    episodes : int
        How many of them, the new one included, are too many.

    Returns
    -------
    bool
        True where `episodes` or more fall into the window. Such an episode stays open until it
        has been calm for a while, so that people are told once and not once per turn.
    """
    return 1 + sum(0 <= age <= within for age in ages) >= episodes


def is_calm(seconds: float, *, flapping: bool, needed: float = CALM_SECONDS) -> bool:
    """Return whether an episode may end.

    Parameters
    ----------
    seconds : float
        How long the metric has been within its clear bound.
    flapping : bool
        Whether the cause flaps.
    needed : float
        How long a flapping one must be calm, seconds.

    Returns
    -------
    bool
        True at once, or after the calm period for one that flaps.
    """
    return not flapping or seconds >= needed
