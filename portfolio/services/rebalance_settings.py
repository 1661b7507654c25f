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
    Trigger,
)

BPS = 1e-4
_POLICY_NAMES = tuple(RebalancePolicy.__dataclass_fields__)
# What each trigger is made of, as it is when the trigger is off.
OFF: dict[Trigger, dict[str, Any]] = {
    Trigger.CALENDAR: {"calendar": Calendar.NEVER},
    Trigger.BAND: {"absolute": None, "relative": None, "is_cost_aware": False},
    Trigger.RISK: {"risk_band": None},
    Trigger.SHARPE: {"sharpe_share": None},
    Trigger.VOLATILITY: {"volatility_high": None},
    Trigger.STATUS: {"on_status": False},
}
# What a trigger is switched on with that has never been on.
USUAL: dict[str, Any] = {
    "calendar": Calendar.MONTHLY,
    "absolute": 0.05,
    "relative": 0.25,
    "risk_band": 0.25,
    "sharpe_share": 0.8,
    "volatility_high": 1.5,
    "on_status": True,
}
_FIRST = {Trigger.BAND: ("absolute",)}


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
    # Bounds of triggers that are off, ready for when they are switched on again.
    paused: Mapping[str, Any] = field(default_factory=dict)

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
    if not isinstance(found.paused, Mapping) or set(found.paused) - set(_POLICY_NAMES):
        raise InvalidInput("These rebalancing settings cannot be used: paused holds bounds only.")
    return found


def is_used(settings: RebalanceSettings, trigger: Trigger) -> bool:
    """Return whether a trigger is on."""
    return any(getattr(settings.policy, name) != off for name, off in OFF[trigger].items())


def switched(settings: RebalanceSettings, trigger: Trigger, *, is_on: bool) -> RebalanceSettings:
    """Return the settings with one trigger on or off; its bounds are kept for the next time."""
    if is_on == is_used(settings, trigger):
        return settings
    document, names = settings.as_json(), tuple(OFF[trigger])
    paused = dict(document["paused"])
    if is_on:
        back = {name: paused.pop(name) for name in names if name in paused}
        document |= back or {name: USUAL[name] for name in _FIRST.get(trigger, names)}
    else:
        used = {name: document[name] for name in names if document[name] != OFF[trigger][name]}
        paused |= used
        document |= OFF[trigger]
    return settings_of(document | {"paused": paused})
