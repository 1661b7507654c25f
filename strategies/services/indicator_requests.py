"""An indicator with its parameters, as a person or a program asks for it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.types import FloatArray
from strategies.quant import indicators
from strategies.quant.indicator_specs import IndicatorParameter, IndicatorSpec

# "20--2-2" is 20, -2 and 2: a hyphen separates where a digit stands before it.
_SEPARATOR = re.compile(r"(?<=[\d.])-")
# Bars have no column of periods, which MAVP reads.
_BAR_COLUMNS = frozenset({"open", "high", "low", "close", "volume"})


@dataclass(frozen=True, slots=True)
class IndicatorRequest:
    """One indicator of the catalogue and a value for each of its parameters, in their order."""

    spec: IndicatorSpec
    values: tuple[float, ...]

    @property
    def parameters(self) -> dict[str, float]:
        return dict(zip((known.name for known in self.spec.parameters), self.values, strict=True))

    @property
    def text(self) -> str:
        """As it stands in an address: `macd:12-26-9`."""
        numbers = "-".join(_number(value) for value in self._told)
        return f"{self.spec.name.lower()}:{numbers}" if numbers else self.spec.name.lower()

    @property
    def label(self) -> str:
        return " ".join([self.spec.name, ", ".join(_number(value) for value in self._told)]).strip()

    @property
    def n_undefined(self) -> int:
        """The leading bars without a value."""
        return indicators.lookback(self.spec.name, **self.parameters)

    @property
    def warmup_bars(self) -> int | None:
        """The bars before a value is independent of where the history starts; None for all."""
        return indicators.warmup_bars(self.spec.name, **self.parameters)

    def compute(self, bars: pd.DataFrame) -> dict[str, FloatArray]:
        """Return one array per output, NaN while undefined."""
        return indicators.compute(self.spec.name, bars, **self.parameters)

    @property
    def _told(self) -> list[float]:
        """The values, without a last moving average type that is the usual one."""
        told = list(self.values)
        known = self.spec.parameters
        while told and known[len(told) - 1].name.endswith("matype"):
            if told[-1] != known[len(told) - 1].default:
                break
            told.pop()
        return told


def offered() -> tuple[IndicatorSpec, ...]:
    """Return the indicators that bars are enough for, by group and name."""
    return tuple(known for known in indicators.catalogue() if _BAR_COLUMNS.issuperset(known.inputs))


def indicator_request(name: str, given: Mapping[str, Any] | None = None) -> IndicatorRequest:
    """Return a checked request; parameters that are not given take their defaults.

    Raises
    ------
    InvalidInput
        Naming `type`, or the parameter that is unknown, no number or out of range.
    """
    spec = _known(name)
    given = given or {}
    names = [known.name for known in spec.parameters]
    unknown = sorted(set(given) - set(names))
    if unknown:
        takes = f"It takes {', '.join(names)}." if names else "It takes none."
        raise InvalidInput(
            f"{spec.name} has no parameter {unknown[0]}.", fields=dict.fromkeys(unknown, takes)
        )
    values = [_value(spec, known, given.get(known.name)) for known in spec.parameters]
    request = IndicatorRequest(spec, tuple(values))
    if spec.name == "MACD" and values[0] >= values[1]:
        raise InvalidInput(
            f"MACD's fast period must be shorter than its slow one, was {values[0]:g}.",
            fields={"fastperiod": f"Choose fewer than {values[1]:g} bars."},
        )
    return request


def parse_request(text: str) -> IndicatorRequest:
    """Read `macd:12-26-9`; numbers left out take their defaults.

    Raises
    ------
    InvalidInput
        As `indicator_request`.
    """
    name, _, numbers = text.strip().partition(":")
    spec = _known(name)
    values = _SEPARATOR.split(numbers) if numbers else []
    names = [known.name for known in spec.parameters]
    if len(values) > len(names):
        takes = ", ".join(names) or "none"
        raise InvalidInput(
            f"{spec.name} takes {len(names)} parameters, {len(values)} were given.",
            fields={"indicators": f"Its parameters, in order: {takes}."},
        )
    return indicator_request(name, dict(zip(names, values, strict=False)))


def format_requests(requests: Sequence[IndicatorRequest]) -> str:
    """Return the list as it stands in an address."""
    return ",".join(request.text for request in requests)


@lru_cache(maxsize=1024)
def _known(name: str) -> IndicatorSpec:
    try:
        spec = indicators.spec(name)
    except ValueError:
        raise InvalidInput(
            f"There is no indicator {name[:40]!r}.",
            fields={"type": "Choose a name of the catalogue at /api/v1/indicators."},
        ) from None
    if not _BAR_COLUMNS.issuperset(spec.inputs):
        raise InvalidInput(
            f"{spec.name} reads a series of periods, which bars do not have.",
            fields={"type": "Choose another indicator; MA takes one period for all bars."},
        )
    return spec


def _value(spec: IndicatorSpec, known: IndicatorParameter, given: Any) -> float:
    if given is None or given == "":
        return known.default
    span = f"from {known.low:g} to {known.high:g}"
    kind = "a whole number" if known.is_integer else "a number"
    advice = {known.name: f"Give {kind} {span}; {known.default:g} is usual."}
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise InvalidInput(f"{spec.name}: {known.name} is not a number.", fields=advice) from None
    if not (math.isfinite(value) and known.low <= value <= known.high):
        raise InvalidInput(
            f"{spec.name}: {known.name} must lie {span}, was {value:g}.", fields=advice
        )
    if known.is_integer and value != int(value):
        raise InvalidInput(
            f"{spec.name}: {known.name} must be a whole number, was {value:g}.", fields=advice
        )
    return int(value) if known.is_integer else value


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value).removesuffix(".0")
