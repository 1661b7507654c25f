"""How much of its capital a strategy may keep at work while it is below its peak."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class ReductionStep:
    """A drawdown, as a share of the limit, from which only part of the size is allowed.

    Attributes
    ----------
    share : Decimal
        Of the limit, in (0, 1].
    scale : Decimal
        Of the full size, in [0, 1).
    """

    share: Decimal
    scale: Decimal

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and 0 <= self.scale < 1):
            raise ValueError(f"a step lies in (0, 1] and [0, 1), was {self.share}, {self.scale}")


# Half the size from two thirds of the limit, none from nine tenths: what is left is for gaps.
REDUCTION_STEPS = (
    ReductionStep(Decimal("0.6666"), Decimal("0.5")),
    ReductionStep(Decimal("0.9"), Decimal(0)),
)


def allowed_scale(
    drawdown: Decimal,
    limit: Decimal,
    *,
    steps: tuple[ReductionStep, ...] = REDUCTION_STEPS,
    previous: Decimal = ONE,
) -> Decimal:
    """Return the share of its full size that a strategy may hold at a drawdown.

    Parameters
    ----------
    drawdown : Decimal
        Distance below the peak, not positive: -0.10 is 10 % below it.
    limit : Decimal
        Largest drawdown allowed, in [-1, 0).
    steps : tuple of ReductionStep
        Where the size shrinks.
    previous : Decimal
        Scale already imposed; it is kept until the drawdown has healed to half of the first
        step, so that the size does not flicker at an edge.

    Returns
    -------
    Decimal
        In [0, 1]: 1 is the full size, 0 closes everything.

    Raises
    ------
    ValueError
        If the drawdown is positive or the limit is no loss.

    References
    ----------
    .. [1] Grossman & Zhou (1993), "Optimal investment strategies for controlling drawdowns",
       Mathematical Finance 3(3): exposure falls with the distance to the limit.
    """
    if drawdown > 0 or not -1 <= limit < 0:
        raise ValueError(f"drawdown and limit are losses, were {drawdown} and {limit}")
    used = drawdown / limit
    scale = min((step.scale for step in steps if used >= step.share), default=ONE)
    healed = used <= min((step.share for step in steps), default=ONE) / 2
    return scale if healed else min(scale, previous)
