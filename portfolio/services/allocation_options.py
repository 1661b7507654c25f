"""What is asked of the optimiser, as it is stored, sent and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from alphastrat.core.errors import InvalidInput
from portfolio.quant.allocation_problem import Method
from portfolio.quant.estimators import Estimator
from portfolio.quant.expected_returns import ReturnModel

# Field: lowest and highest value, and how people say what is allowed.
_RANGES: dict[str, tuple[float, float, str]] = {
    "max_weight": (0.001, 1.0, "between 0.1 and 100 %"),
    "min_weight": (0.0, 1.0, "between 0 and 100 %"),
    "cash": (0.0, 0.99, "between 0 and 99 %"),
    "max_correlated": (0.0, 1.0, "between 0 and 100 %"),
    "correlated_above": (0.0, 0.99, "between 0 and 0.99"),
    "max_turnover": (0.0, 2.0, "between 0 and 200 %"),
    "max_strategies": (1, 10_000, "at least 1"),
    "risk_free": (-0.1, 1.0, "between -10 and 100 %"),
    "confidence": (0.5, 0.999, "between 50 and 99.9 %"),
    "window_days": (60, 20_000, "at least 60 days"),
    "cost_bps": (0.0, 500.0, "between 0 and 500 basis points"),
    "train_days": (60, 5_000, "at least 60 days"),
    "hold_days": (1, 500, "between 1 and 500 days"),
    "target": (-1.0, 10.0, "between -100 and 1000 %"),
}
_OPTIONAL = {"max_turnover", "max_strategies", "target", "window_days"}


@dataclass(frozen=True, slots=True)
class AllocationOptions:
    """A method, its estimates and its limits; fractions throughout."""

    method: str = Method.RISK_PARITY.value
    estimator: str = Estimator.LEDOIT_WOLF.value
    return_model: str = ReturnModel.SHRUNK.value
    source: str = "live"
    window_days: int | None = 1260
    target: float | None = None
    risk_free: float = 0.0
    confidence: float = 0.95
    max_weight: float = 0.30
    min_weight: float = 0.05
    cash: float = 0.0
    max_strategies: int | None = None
    max_turnover: float | None = None
    max_correlated: float = 0.50
    correlated_above: float = 0.60
    # Group name to the most its members may have together.
    group_limits: dict[str, float] = field(default_factory=dict)
    # Strategy id to its share of the risk.
    budgets: dict[str, float] = field(default_factory=dict)
    # {"strategy": id, "excess": 0.02, "against": id or "", "confidence": 0.5}
    views: list[dict[str, Any]] = field(default_factory=list)
    cost_bps: float = 5.0
    train_days: int = 252
    hold_days: int = 21
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


NAMES = tuple(one.name for one in fields(AllocationOptions))
DEFAULTS = AllocationOptions()


def options_of(values: Mapping[str, Any]) -> AllocationOptions:
    """Return checked options; what is missing has its default.

    Raises InvalidInput that names each field that is wrong.
    """
    unknown = sorted(set(values) - set(NAMES))
    problems = dict.fromkeys(unknown, "There is no such option.")
    known = {name: value for name, value in values.items() if name in NAMES}
    for name, (low, high, words) in _RANGES.items():
        value = known.get(name, getattr(DEFAULTS, name))
        if value is None and name in _OPTIONAL:
            continue
        if not _is_number(value) or not low <= value <= high:
            problems[name] = f"Choose a value {words}."
    problems |= _wrong_choices(known) | _wrong_documents(known)
    if not problems:
        problems |= _contradictions(known)
    if problems:
        raise InvalidInput("Some of the optimiser's settings cannot be used.", fields=problems)
    return AllocationOptions(**known)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _wrong_choices(known: Mapping[str, Any]) -> dict[str, str]:
    choices: dict[str, set[str]] = {
        "method": {one.value for one in Method},
        "estimator": {one.value for one in Estimator},
        "return_model": {one.value for one in ReturnModel},
        "source": {"live", "backtest"},
    }
    return {
        name: f"Choose one of {', '.join(sorted(allowed))}."
        for name, allowed in choices.items()
        if known.get(name, getattr(DEFAULTS, name)) not in allowed
    }


def _wrong_documents(known: Mapping[str, Any]) -> dict[str, str]:
    problems = {}
    limits = known.get("group_limits", {})
    if not isinstance(limits, dict) or not all(
        _is_number(value) and 0 <= value <= 1 for value in limits.values()
    ):
        problems["group_limits"] = "Give each group a limit between 0 and 100 %."
    budgets = known.get("budgets", {})
    if not isinstance(budgets, dict) or not all(
        _is_number(value) and value > 0 for value in budgets.values()
    ):
        problems["budgets"] = "Give each strategy a positive share of the risk."
    views = known.get("views", [])
    if not isinstance(views, list) or not all(_is_view(view) for view in views):
        problems["views"] = "A view names a strategy, a return and a confidence in (0, 1)."
    return problems


def _is_view(view: Any) -> bool:
    if not isinstance(view, dict) or not view.get("strategy"):
        return False
    confidence, excess = view.get("confidence", 0.5), view.get("excess")
    return _is_number(excess) and _is_number(confidence) and 0 < confidence < 1


def _contradictions(known: Mapping[str, Any]) -> dict[str, str]:
    def value(name: str) -> Any:
        return known.get(name, getattr(DEFAULTS, name))

    problems = {}
    if value("min_weight") > value("max_weight"):
        problems["min_weight"] = "The smallest weight cannot be above the largest."
    has_target = value("method") in {"target_return", "target_volatility"}
    if has_target and value("target") is None:
        problems["target"] = "This method needs a target."
    if value("method") == "target_volatility" and (value("target") or 0) <= 0:
        problems["target"] = "A target volatility is above zero."
    if value("return_model") == "black_litterman" and not value("views"):
        problems["views"] = "Black-Litterman needs at least one view."
    return problems
