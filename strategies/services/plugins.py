"""Plug-ins as they were found at start: built in, of users, and rejected with the reason."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from strategies.quant import registry
from strategies.quant.checks import CheckResult
from strategies.quant.parameters import ParameterSpec, parameter_specs
from strategies.quant.user_plugins import (
    LoadProblem,
    check_plugin,
    load_entry_points,
    load_user_plugins,
)

logger = logging.getLogger(__name__)
_rejected: list[LoadProblem] = []
_of_users: set[str] = set()


@dataclass(frozen=True, slots=True)
class PluginFacts:
    """What a person wants to know of a plug-in; warm-up with the default parameters."""

    key: str
    label: str
    description: str
    origin: str
    source: str
    warmup_bars: int
    parameters: tuple[ParameterSpec, ...]
    checks: tuple[CheckResult, ...]

    @property
    def has_passed(self) -> bool:
        """Return whether every check passed."""
        return all(check.passed for check in self.checks)


def load_all(folder: Path) -> None:
    """Register the plug-ins of a folder and of installed packages; called once, at start."""
    for report in (load_user_plugins(folder), load_entry_points()):
        _of_users.update(report.loaded)
        _rejected.extend(report.problems)
        for problem in report.problems:
            logger.warning("plug-in rejected", extra={"problem": str(problem)})


def rejected() -> tuple[LoadProblem, ...]:
    """Return what keeps plug-ins of users from being used."""
    return tuple(_rejected)


def known() -> list[PluginFacts]:
    """Return every plug-in that can be used, by key."""
    return [facts(key) for key in registry.plugin_keys()]


@lru_cache(maxsize=256)
def facts(key: str) -> PluginFacts:
    """Return what is known of one plug-in; it is checked when first asked for."""
    cls = registry.plugin(key)
    return PluginFacts(
        key=key,
        label=cls.label,
        description=cls.description,
        origin="user" if key in _of_users else "built in",
        source=inspect.getsourcefile(cls) or "",
        warmup_bars=int(cls().warmup_bars),
        parameters=parameter_specs(cls),
        checks=tuple(check_plugin(cls)),
    )
