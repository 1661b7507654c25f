"""Strategy plug-ins, looked up by the key stored on a strategy row."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import pandas as pd

from strategies.quant.panel import Panel
from strategies.quant.parameters import (
    MAX_FREE_PARAMETERS,
    check_parameters,
    coerce_parameters,
    free_parameters,
)
from strategies.quant.signals import PanelSignals, Signals

PluginType = TypeVar("PluginType", bound=type[Any])


class StrategyPlugin(Protocol):
    """Turns the bars of one instrument into signals; a frozen dataclass without state."""

    key: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]

    @property
    def warmup_bars(self) -> int:
        """Bars before the answer stops depending on where the window starts."""

    def signals(self, bars: pd.DataFrame) -> Signals:
        """Return the wishes at each bar close, knowing that bar and earlier ones only."""


@runtime_checkable
class PanelPlugin(Protocol):
    """Turns the bars of several instruments into signals, where they depend on each other."""

    @property
    def warmup_bars(self) -> int:
        """Bars before the answer stops depending on where the window starts."""

    def panel_signals(self, panel: Panel) -> PanelSignals:
        """Return the wishes of every instrument at each bar close."""


class Plugin:
    """Base of plug-ins: checks the declared parameters of a frozen dataclass.

    Subclasses are decorated with `@register` and `@dataclass(frozen=True, slots=True)`, declare
    their fields with `parameters.parameter` and implement `signals` or `panel_signals`.

    Attributes
    ----------
    key, label, description : str
        Name stored on strategy rows, words for people, and what it does in one sentence.
    parameter_override_reason : str
        Why more than five free parameters are needed; empty for the rest.
    """

    __slots__ = ()

    key: ClassVar[str] = ""
    label: ClassVar[str] = ""
    description: ClassVar[str] = ""
    parameter_override_reason: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_parameters(self)
        self.check_consistency()

    def check_consistency(self) -> None:
        """Raise ValueError if parameters contradict each other; overridden where they can."""

    def check_universe(self, n_instruments: int) -> None:
        """Raise ValueError if there are too few or too many instruments; overridden where."""


_plugins: dict[str, type[Any]] = {}
_is_sealed = False
_staged: list[type[Any]] | None = None


def register(cls: PluginType) -> PluginType:
    """Publish a plug-in class under its `key`.

    Parameters
    ----------
    cls : type
        A dataclass derived from `Plugin`.

    Returns
    -------
    type
        The same class.

    Raises
    ------
    ValueError
        If the registry is sealed, the key is empty or taken, the class is not a frozen dataclass,
        neither `signals` nor `panel_signals` exists, a parameter is badly declared, or there are
        more than five free parameters without `parameter_override_reason`.
    """
    _check_class(cls)
    if _staged is not None:
        _staged.append(cls)
        return cls
    if _is_sealed:
        raise ValueError(f"the registry is sealed; {cls.key!r} must be registered at start-up")
    if cls.key in _plugins:
        raise ValueError(f"strategy key {cls.key!r} is already registered")
    _plugins[cls.key] = cls
    return cls


@contextmanager
def staged() -> Iterator[list[type[Any]]]:
    """Collect the plug-ins registered inside the block instead of publishing them.

    Yields
    ------
    list of type
        Filled by `register`; user files are checked before their classes are published.
    """
    global _staged
    collected: list[type[Any]] = []
    _staged = collected
    try:
        yield collected
    finally:
        _staged = None


def load_builtin_plugins() -> None:
    """Register the plug-ins that come with AlphaStrat; doing it twice changes nothing."""
    importlib.import_module("strategies.quant.plugins")


def seal() -> None:
    """Refuse further registrations: called when start-up is over."""
    global _is_sealed
    _is_sealed = True


def is_sealed() -> bool:
    """Return whether start-up is over."""
    return _is_sealed


def plugin_keys() -> tuple[str, ...]:
    """Return the keys of all registered plug-ins, sorted."""
    return tuple(sorted(_plugins))


def plugin(key: str) -> type[Any]:
    """Return the plug-in class of a key.

    Parameters
    ----------
    key : str
        As stored on a strategy row.

    Returns
    -------
    type
        The class; `parameter_specs` describes its parameters.

    Raises
    ------
    ValueError
        If no such plug-in is registered; the message lists those that are.
    """
    try:
        return _plugins[key]
    except KeyError:
        known = ", ".join(plugin_keys())
        raise ValueError(f"unknown strategy {key!r}; known: {known}") from None


def find(key: str) -> type[Any] | None:
    """Return the plug-in class of a key, None where it is not installed any more.

    Parameters
    ----------
    key : str
        As stored on a strategy row or a result.

    Returns
    -------
    type or None
        The class.
    """
    return _plugins.get(key)


def label_of(key: str) -> str:
    """Return a plug-in's words for people; its key where it is not installed."""
    found = find(key)
    return found.label if found else key


def build(key: str, params: Mapping[str, Any]) -> Any:
    """Instantiate a plug-in from stored parameters.

    Parameters
    ----------
    key : str
        As stored on a strategy row.
    params : mapping of name to value
        As they come from JSON or a form; omitted parameters take their defaults.

    Returns
    -------
    Plugin
        A frozen instance.

    Raises
    ------
    ValueError
        If the key is unknown or a parameter does not exist, is out of range, or contradicts
        another.
    """
    cls = plugin(key)
    return cls(**coerce_parameters(cls, params))


def is_panel_plugin(strategy: Any) -> bool:
    """Return whether a plug-in (class or instance) needs several instruments at once."""
    return hasattr(strategy, "panel_signals")


def _check_class(cls: type[Any]) -> None:
    if not (cls.key and cls.label):
        raise ValueError(f"{cls.__name__} needs a key and a label")
    settings = getattr(cls, "__dataclass_params__", None)
    if settings is None or not settings.frozen:
        raise ValueError(
            f"{cls.__name__} must be a frozen dataclass: write @dataclass(frozen=True, slots=True) "
            "under @register, so that nothing of one run can stay for the next"
        )
    if not (hasattr(cls, "signals") or hasattr(cls, "panel_signals")):
        raise ValueError(f"{cls.__name__} has neither signals() nor panel_signals()")
    n_free = len(free_parameters(cls))
    if n_free > MAX_FREE_PARAMETERS and not cls.parameter_override_reason:
        raise ValueError(
            f"{cls.__name__} has {n_free} free parameters, at most {MAX_FREE_PARAMETERS} are "
            "allowed; fix some with is_free=False or set parameter_override_reason"
        )
