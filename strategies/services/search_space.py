"""The sets that a search tries: axes as people write them, checked and laid out as a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.types import IntArray
from strategies.quant import registry
from strategies.quant.chunks import EXIT_NAMES, accepted
from strategies.quant.exits import ExitRules
from strategies.quant.grid import Axis, Grid
from strategies.quant.parameters import ParameterKind, ParameterSpec, parameter_specs
from strategies.services.configuration import check_plugin

MAX_AXES = 5
MAX_LEVELS = 1_000
MAX_SETS = 200_000
# More sets than this are not all asked whether they contradict themselves before the start.
N_PROBED = 4_000
EXIT_LABELS = {
    "stop_loss": "Stop-loss",
    "take_profit": "Take-profit",
    "trailing_stop": "Trailing stop",
    "max_bars": "Longest holding time",
    "cooldown_bars": "Pause after a stop",
}


def check_space(plugin: str, space: Mapping[str, Any], *, limit: int | None = MAX_SETS) -> Grid:
    """Return the grid of the axes that vary.

    An axis is `{"low", "high", "step"}`, `{"values": [...]}` or a list of values, under the name
    of a parameter or of an exit rule. Raises InvalidInput naming each axis that is wrong.
    """
    specs = {spec.name: spec for spec in parameter_specs(check_plugin(plugin))}
    problems: dict[str, str] = {}
    axes: list[Axis] = []
    for name, asked in space.items():
        try:
            axes.append(_axis(name, asked, specs.get(name)))
        except ValueError as error:
            problems[f"space.{name}"] = str(error)
    if not space:
        problems["space"] = "Give at least one parameter a range or values."
    elif len(space) > MAX_AXES:
        problems["space"] = f"Vary at most {MAX_AXES} parameters; {len(space)} were given."
    if problems:
        raise InvalidInput("Some of the ranges cannot be used.", fields=problems)
    grid = Grid(tuple(axes))
    if limit is not None and grid.n_sets > limit:
        counts = " × ".join(str(count) for count in grid.shape)
        raise InvalidInput(
            f"{grid.n_sets:,} sets are too many.",
            fields={
                "space": f"{counts} are {grid.n_sets:,} sets; at most {limit:,} are tried. Take "
                "wider steps, or search with the Bayesian method."
            },
        )
    return grid


def axis_label(plugin: str, name: str) -> str:
    """Return an axis in words; its name where the plug-in is not installed any more."""
    found = registry.find(plugin)
    for spec in parameter_specs(found) if found else ():
        if spec.name == name:
            return f"{spec.label}, {spec.unit}" if spec.unit else spec.label
    return EXIT_LABELS.get(name, name)


def probe(plugin: str, fixed: Mapping[str, Any], grid: Grid) -> tuple[list[dict[str, Any]], float]:
    """Return sets that the plug-in accepts, and the share of the grid that they stand for.

    Raises InvalidInput if there is none.
    """
    count = min(grid.n_sets, N_PROBED)
    numbers = np.unique(np.linspace(0, grid.n_sets - 1, count).astype(np.int64))
    if grid.n_sets > N_PROBED:
        numbers = np.unique(np.concatenate((numbers, corners(grid))))
    sets = grid.sets(numbers)
    is_valid = accepted(plugin, fixed, sets)
    valid = [own for own, ok in zip(sets, is_valid, strict=True) if ok]
    if not valid:
        raise InvalidInput(
            "No combination of these values is allowed.",
            fields={"space": "Every combination contradicts itself; choose other ranges."},
        )
    return valid, len(valid) / len(sets)


def corners(grid: Grid) -> IntArray:
    """Return the numbers of the sets at the corners of a grid."""
    spans = [(0, len(axis.values) - 1) for axis in grid.axes]
    mesh = np.meshgrid(*spans, indexing="ij")
    return grid.numbers(np.stack([axis.ravel() for axis in mesh], axis=1))


def _axis(name: str, asked: Any, spec: ParameterSpec | None) -> Axis:
    if spec is None and name not in EXIT_NAMES:
        raise ValueError("Not known: neither a parameter of this type nor an exit rule.")
    is_number = spec is None or spec.kind in (ParameterKind.INTEGER, ParameterKind.NUMBER)
    values = _values(asked, is_number=is_number)
    is_whole = spec.kind is ParameterKind.INTEGER if spec else name in ("max_bars", "cooldown_bars")
    if is_whole:
        values = [_whole(value) for value in values]
    if not values or len(values) > MAX_LEVELS:
        raise ValueError(f"Give 1 to {MAX_LEVELS} values; these are {len(values)}.")
    if len(set(values)) != len(values):
        raise ValueError("Name every value once.")
    for value in values:
        problem = spec.check(value) if spec else _exit_problem(name, value)
        if problem:
            raise ValueError(f"{problem[:1].upper()}{problem[1:]}.")
    return Axis(name, tuple(sorted(values) if is_number else values), is_ordered=is_number)


def _values(asked: Any, *, is_number: bool) -> list[Any]:
    if isinstance(asked, Mapping) and "values" in asked:
        asked = asked["values"]
    if isinstance(asked, Mapping):
        if not is_number:
            raise ValueError("Name the values to try; a choice has no range.")
        return _range(asked)
    if not isinstance(asked, Sequence) or isinstance(asked, str):
        raise ValueError("Give low, high and step, or a list of values.")
    return [float(value) if is_number and _is_number(value) else value for value in asked]


def _range(asked: Mapping[str, Any]) -> list[float]:
    low, high, step = (cast("Any", asked.get(name)) for name in ("low", "high", "step"))
    if not (_is_number(low) and _is_number(high)):
        raise ValueError("Give both the lowest and the highest value.")
    if step is None:
        step = 1
    if not _is_number(step) or step <= 0:
        raise ValueError("The step must be above 0.")
    if high < low:
        raise ValueError(f"The highest value must be at least the lowest, {low:g}.")
    count = math.floor((high - low) / step + 1e-9) + 1
    if count > MAX_LEVELS:
        raise ValueError(f"{count:,} values are too many: at most {MAX_LEVELS:,}; widen the step.")
    return [round(float(low + i * step), 10) for i in range(count)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _exit_problem(name: str, value: Any) -> str | None:
    try:
        ExitRules(**{name: value})
    except (ValueError, TypeError) as error:
        return str(error).partition(" ")[2]
    return None
