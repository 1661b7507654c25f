"""How a portfolio is rebalanced, as it is stored and as the policies take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from alphastrat.core.errors import InvalidInput
from portfolio.quant.rebalance_policies import (
    DEFAULT_POLICY,
    Calendar,
    Destination,
    RebalancePolicy,
)

BPS = 1e-4
_POLICY_NAMES = tuple(RebalancePolicy.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class RebalanceSettings:
    """Triggers, costs, and who decides."""

    policy: RebalancePolicy = field(default=DEFAULT_POLICY)
    is_automatic: bool = False
    # Cost of one side in basis points of what is moved.
    cost_bps: float = 10.0
    # Less than this share of the portfolio is not worth an order.
    minimum: float = 0.002
    target_sharpe: float = 1.0

    @property
    def cost(self) -> float:
        """Return the proportional cost of one side."""
        return self.cost_bps * BPS

    def as_json(self) -> dict[str, Any]:
        document = asdict(self)
        return document.pop("policy") | document


DEFAULTS = RebalanceSettings()


def settings_of(values: Mapping[str, Any]) -> RebalanceSettings:
    """Return settings from what is stored; what is missing has its default.

    Raises InvalidInput for a value that cannot be.
    """
    own = {name: value for name, value in values.items() if name not in _POLICY_NAMES}
    rules = {name: value for name, value in values.items() if name in _POLICY_NAMES}
    try:
        if "calendar" in rules:
            rules["calendar"] = Calendar(rules["calendar"])
        if "destination" in rules:
            rules["destination"] = Destination(rules["destination"])
        policy = replace(DEFAULT_POLICY, **rules)
        found = replace(DEFAULTS, policy=policy, **own)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"These rebalancing settings cannot be used: {error}.") from error
    if not (0 <= found.cost_bps <= 500 and 0 <= found.minimum < 1):
        raise InvalidInput(
            "These rebalancing settings cannot be used.",
            fields={"cost_bps": "Choose 0 to 500 basis points.", "minimum": "Choose 0 to 99 %."},
        )
    return found
