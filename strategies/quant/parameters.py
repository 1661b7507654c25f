"""Parameters of a plug-in: declared once, checked, and shown in forms and API schemas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from typing import Any, get_type_hints

MAX_FREE_PARAMETERS = 5


class ParameterKind(StrEnum):
    """The type of a parameter's value."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"


class Direction(StrEnum):
    """The sides of the market that a plug-in may take."""

    LONG = "long"
    SHORT = "short"
    BOTH = "both"

    @property
    def allows_long(self) -> bool:
        """Whether long entries are wanted."""
        return self is not Direction.SHORT

    @property
    def allows_short(self) -> bool:
        """Whether short entries are wanted."""
        return self is not Direction.LONG


# Reading type hints takes longer than computing a signal.
_type_hints: dict[type[Any], dict[str, Any]] = {}
_specs: dict[type[Any], tuple[ParameterSpec, ...]] = {}


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """What a form, an API schema or an optimiser needs to know about one parameter.

    Attributes
    ----------
    name, label, unit, help : str
        Field name, words for people, unit ("bars", "%", "σ", "" for a pure number) and one
        sentence.
    kind : ParameterKind
        Type of the value.
    default : int, float, bool or str
        Value used when none is given.
    low, high : float or None
        Inclusive range; None for booleans and choices.
    step : float or None
        Natural step of a form or grid.
    choices : tuple of str
        Allowed values of a choice.
    is_free : bool
        Whether an optimiser may vary it; free parameters are counted against overfitting.
    """

    name: str
    label: str
    kind: ParameterKind
    default: int | float | bool | str
    unit: str = ""
    help: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    is_free: bool = True

    def check(self, value: object) -> str | None:
        """Return what is wrong with `value` in plain words, or None."""
        if self.kind is ParameterKind.BOOLEAN:
            return None if isinstance(value, bool) else f"must be true or false, was {value!r}"
        if self.kind is ParameterKind.CHOICE:
            allowed = ", ".join(self.choices)
            return None if str(value) in self.choices else f"must be one of {allowed}, was {value}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number, was {value!r}"
        if self.kind is ParameterKind.INTEGER and not isinstance(value, int):
            return f"must be a whole number, was {value!r}"
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        inside = math.isfinite(value) and low <= value <= high
        return None if inside else f"must lie in [{low:g}, {high:g}], was {value:g}"


def parameter(
    default: Any,
    *,
    label: str,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    unit: str = "",
    help: str = "",  # noqa: A002 - the word of forms and argparse
    is_free: bool = True,
) -> Any:
    """Declare one parameter of a plug-in, as the default of a dataclass field.

    Parameters
    ----------
    default : int, float, bool or StrEnum member
        Value used when none is given.
    label, unit, help : str
        Words for people.
    low, high : float, optional
        Inclusive range; compulsory for numbers.
    step : float, optional
        Natural step of a form or grid.
    is_free : bool
        Whether an optimiser may vary it.

    Returns
    -------
    dataclasses.Field
        To be assigned to an annotated field.
    """
    metadata = {
        "label": label,
        "low": low,
        "high": high,
        "step": step,
        "unit": unit,
        "help": help,
        "is_free": is_free,
    }
    return field(default=default, metadata=metadata)


def parameter_specs(cls: type[Any]) -> tuple[ParameterSpec, ...]:
    """Return the parameters of a plug-in class in declaration order.

    Parameters
    ----------
    cls : type
        A dataclass whose fields were declared with `parameter`.

    Returns
    -------
    tuple of ParameterSpec
        One per field.

    Raises
    ------
    ValueError
        If a field has no default or label, an unknown type, or a number has no range.
    """
    if cls not in _specs:
        hints = _hints(cls)
        _specs[cls] = tuple(_spec(cls, known, hints[known.name]) for known in fields(cls))
    return _specs[cls]


def free_parameters(cls: type[Any]) -> tuple[ParameterSpec, ...]:
    """Return the parameters that an optimiser may vary.

    Parameters
    ----------
    cls : type
        A plug-in class.

    Returns
    -------
    tuple of ParameterSpec
        In declaration order.
    """
    return tuple(spec for spec in parameter_specs(cls) if spec.is_free)


def coerce_parameters(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the types that the plug-in declares, as they come from JSON.

    Parameters
    ----------
    cls : type
        A plug-in class.
    values : mapping of name to value
        Any subset of the parameters.

    Returns
    -------
    dict of name to value
        Whole floats become ints where an int is declared, ints become floats where a float is,
        strings become members of the declared StrEnum.

    Raises
    ------
    ValueError
        Naming every parameter that does not exist or has a value that is out of range.
    """
    specs = {spec.name: spec for spec in parameter_specs(cls)}
    hints = _hints(cls)
    problems = [f"{name}: no such parameter" for name in values if name not in specs]
    coerced: dict[str, Any] = {}
    for name, value in values.items():
        if name in specs:
            coerced[name] = _coerce(specs[name], hints[name], value)
            problem = specs[name].check(coerced[name])
            problems += [f"{name}: {problem}"] if problem else []
    if problems:
        raise ValueError(f"bad parameters for {cls.key!r}: " + "; ".join(problems))
    return coerced


def check_parameters(instance: Any) -> None:
    """Raise ValueError if a parameter of a plug-in instance is outside its declared range.

    Parameters
    ----------
    instance : plug-in
        Called from `Plugin.__post_init__`.

    Raises
    ------
    ValueError
        Naming every offending parameter.
    """
    problems = []
    for spec in parameter_specs(type(instance)):
        problem = spec.check(getattr(instance, spec.name))
        if problem:
            problems.append(f"{spec.name}: {problem}")
    if problems:
        raise ValueError(f"bad parameters for {type(instance).key!r}: " + "; ".join(problems))


def parameter_schema(cls: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a plug-in's parameters.

    Parameters
    ----------
    cls : type
        A plug-in class.

    Returns
    -------
    dict
        A JSON schema object; unit, step and whether it is free are in `x-` keywords.
    """
    return {
        "type": "object",
        "title": cls.label,
        "additionalProperties": False,
        "properties": {spec.name: _property(spec) for spec in parameter_specs(cls)},
    }


def _hints(cls: type[Any]) -> dict[str, Any]:
    if cls not in _type_hints:
        _type_hints[cls] = get_type_hints(cls)
    return _type_hints[cls]


def _property(spec: ParameterSpec) -> dict[str, Any]:
    kind = "string" if spec.kind is ParameterKind.CHOICE else spec.kind.value
    schema: dict[str, Any] = {"type": kind, "title": spec.label, "default": spec.default}
    optional = {
        "description": spec.help,
        "minimum": spec.low,
        "maximum": spec.high,
        "enum": list(spec.choices),
        "x-unit": spec.unit,
        "x-step": spec.step,
    }
    schema.update({name: value for name, value in optional.items() if value not in (None, "", [])})
    schema["x-free"] = spec.is_free
    return schema


def _kind(hint: object) -> ParameterKind | None:
    if hint is bool:
        return ParameterKind.BOOLEAN
    if hint is int:
        return ParameterKind.INTEGER
    if hint is float:
        return ParameterKind.NUMBER
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ParameterKind.CHOICE
    return None


def _spec(cls: type[Any], declared: Field[Any], hint: Any) -> ParameterSpec:
    name = f"{cls.__name__}.{declared.name}"
    kind = _kind(hint)
    if kind is None:
        raise ValueError(f"{name} must be an int, float, bool or StrEnum, was {hint!r}")
    if declared.default is MISSING or "label" not in declared.metadata:
        raise ValueError(f"{name} must be declared with parameter(default, label=...)")
    terms = dict(declared.metadata)
    is_number = kind in (ParameterKind.INTEGER, ParameterKind.NUMBER)
    if is_number and (terms["low"] is None or terms["high"] is None):
        raise ValueError(f"{name} needs low and high")
    choices = tuple(hint) if kind is ParameterKind.CHOICE else ()
    default = str(declared.default) if choices else declared.default
    return ParameterSpec(
        name=declared.name,
        kind=kind,
        default=default,
        choices=tuple(str(choice) for choice in choices),
        **terms,
    )


def _coerce(spec: ParameterSpec, hint: Any, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if spec.kind is ParameterKind.INTEGER and isinstance(value, float) and value.is_integer():
        return int(value)
    if spec.kind is ParameterKind.NUMBER and isinstance(value, int):
        return float(value)
    if spec.kind is ParameterKind.CHOICE and str(value) in spec.choices:
        return hint(str(value))
    return value
