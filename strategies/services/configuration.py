"""Costs, exits and sizing as stored in JSON, and as the simulator takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.execution import CostModel
from strategies.quant import registry
from strategies.quant.exits import ExitRules
from strategies.quant.parameters import coerce_parameters, parameter_specs
from strategies.quant.sizing import (
    FixedCash,
    FixedFraction,
    FixedQuantity,
    FixedRisk,
    KellyFraction,
    Sizing,
    VolatilityTarget,
)


@dataclass(frozen=True, slots=True)
class SizingRule:
    """A sizing rule that people choose: its words, and its values by name with their defaults."""

    key: str
    label: str
    defaults: Mapping[str, float]
    build: Callable[..., Sizing]


def _equal_share(n_symbols: int, **_values: float) -> Sizing:
    return FixedFraction(1.0 / n_symbols)


def _alone(kind: Callable[..., Sizing]) -> Callable[..., Sizing]:
    def build(n_symbols: int, **values: float) -> Sizing:
        return kind(**values)

    return build


def _capped(kind: Callable[..., Sizing]) -> Callable[..., Sizing]:
    """Cap a weight at an equal share of the account unless the request says otherwise."""

    def build(n_symbols: int, **values: float) -> Sizing:
        return kind(**{"cap": 1.0 / n_symbols, **values})

    return build


SIZING_RULES: dict[str, SizingRule] = {
    rule.key: rule
    for rule in (
        SizingRule("equal_share", "An equal share of equity per instrument", {}, _equal_share),
        SizingRule(
            "fixed_fraction", "A fixed fraction of equity", {"fraction": 0.2}, _alone(FixedFraction)
        ),
        SizingRule("fixed_cash", "A fixed amount of cash", {"amount": 10_000}, _alone(FixedCash)),
        SizingRule(
            "fixed_quantity", "A fixed number of units", {"quantity": 100}, _alone(FixedQuantity)
        ),
        SizingRule(
            "fixed_risk",
            "A fixed fraction of equity at risk to the stop",
            {"fraction": 0.01},
            _alone(FixedRisk),
        ),
        SizingRule(
            "volatility_target",
            "A target volatility per position",
            {"target": 0.1},
            _capped(VolatilityTarget),
        ),
        SizingRule(
            "kelly",
            "A share of the Kelly fraction",
            {"excess_return": 0.05, "multiple": 0.25},
            _capped(KellyFraction),
        ),
    )
}
DEFAULT_SIZING = "equal_share"
# Beyond these a sale would bring less than nothing.
MOST_COSTS = {
    "commission_bps": 1_000,
    "slippage_bps": 1_000,
    "slippage_volatility": 3,
    "borrow_bps_per_year": 100_000,
}
OPTIONAL_SIZING_VALUES = {"volatility_target": {"cap"}, "kelly": {"cap"}}


def complete_sizing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sizing rule with its kind, which is an equal share unless said otherwise."""
    return {"kind": DEFAULT_SIZING, **values}


def complete_exits(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the exit rules that are set."""
    return {name: value for name, value in values.items() if value is not None}


def check_plugin(plugin: str) -> type[Any]:
    """Return the plug-in class; raises InvalidInput naming those that exist."""
    try:
        return registry.plugin(plugin)
    except ValueError:
        known = ", ".join(registry.plugin_keys())
        raise InvalidInput(
            f"There is no strategy plug-in called {plugin!r}.",
            fields={"plugin": f"Choose one of {known}."},
        ) from None


def check_parameters(plugin: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete, typed parameters of a plug-in; raises InvalidInput per parameter."""
    cls = check_plugin(plugin)
    specs = {spec.name: spec for spec in parameter_specs(cls)}
    typed: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, value in values.items():
        try:
            typed |= coerce_parameters(cls, {name: value})
        except ValueError as error:
            reason = str(error).partition(f"{name}: ")[2]
            problems[f"parameters.{name}"] = f"{reason[:1].upper()}{reason[1:]}."
    if problems:
        names = ", ".join(_parameter_label(specs, name) for name in problems)
        raise InvalidInput(f"These parameters are out of range: {names}.", fields=problems)
    try:
        strategy = cls(**typed)
    except ValueError as error:
        raise InvalidInput(
            f"The parameters contradict each other: {error}.", fields={"parameters": f"{error}."}
        ) from None
    return {name: getattr(strategy, name) for name in specs}


def check_universe(strategy: Any, n_symbols: int) -> None:
    """Raise InvalidInput if a plug-in cannot use so many instruments."""
    try:
        strategy.check_universe(n_symbols)
    except ValueError as error:
        reason = str(error)
        raise InvalidInput(
            f"The strategy cannot use these instruments: {reason}.",
            fields={"symbols": f"{reason[:1].upper()}{reason[1:]}."},
        ) from None


def check_costs(values: Mapping[str, Any]) -> CostModel:
    """Return the cost model; raises InvalidInput naming the term."""
    known = {field.name for field in fields(CostModel)}
    numbers = _numbers("costs", values, known)
    problems = {f"costs.{name}": "Must not be negative." for name, v in numbers.items() if v < 0}
    problems |= {
        f"costs.{name}": f"Must be at most {most:,}."
        for name, most in MOST_COSTS.items()
        if numbers.get(name, 0) > most
    }
    if problems:
        raise InvalidInput("Some of these costs cannot be charged.", fields=problems)
    return CostModel(**numbers)


def check_exits(values: Mapping[str, Any]) -> ExitRules:
    """Return the exit rules; raises InvalidInput naming the rule."""
    known = {field.name for field in fields(ExitRules)}
    given = complete_exits(values)
    numbers: dict[str, Any] = _numbers("exit_rules", given, known)
    for name in ("max_bars", "cooldown_bars"):
        if name in numbers:
            numbers[name] = int(numbers[name])
    try:
        return ExitRules(**numbers)
    except ValueError as error:
        name, _, reason = str(error).partition(" ")
        raise InvalidInput(
            f"The exit rules are wrong: {error}.",
            fields={f"exit_rules.{name}": f"{reason[:1].upper()}{reason[1:]}."},
        ) from None


def check_sizing(values: Mapping[str, Any], *, n_symbols: int) -> Sizing:
    """Return the sizing rule; raises InvalidInput naming the value."""
    rule = SIZING_RULES.get(str(values.get("kind", DEFAULT_SIZING)))
    if rule is None:
        known = ", ".join(SIZING_RULES)
        raise InvalidInput(
            "There is no such sizing rule.", fields={"sizing.kind": f"Choose one of {known}."}
        )
    known_names = {*rule.defaults, *OPTIONAL_SIZING_VALUES.get(rule.key, ())}
    given = {name: v for name, v in values.items() if name != "kind" and v is not None}
    numbers = {**rule.defaults, **_numbers("sizing", given, known_names)}
    try:
        return rule.build(n_symbols, **numbers)
    except ValueError as error:
        name, _, reason = str(error).partition(" ")
        raise InvalidInput(
            f"The sizing is wrong: {error}.",
            fields={f"sizing.{name}": f"{reason[:1].upper()}{reason[1:]}."},
        ) from None


def _numbers(part: str, values: Mapping[str, Any], known: set[str]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    problems: dict[str, str] = {}
    for name, value in values.items():
        if name not in known:
            problems[f"{part}.{name}"] = f"Not known; use {', '.join(sorted(known)) or 'nothing'}."
        elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
            problems[f"{part}.{name}"] = "Must be a number."
        else:
            numbers[name] = float(value)
    if problems:
        raise InvalidInput("Some of these settings cannot be used.", fields=problems)
    return numbers


def _parameter_label(specs: Mapping[str, Any], field: str) -> str:
    name = field.removeprefix("parameters.")
    return specs[name].label if name in specs else name
