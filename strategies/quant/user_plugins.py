"""Plug-ins of users: Python files in a folder or package entry points, checked before use."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from strategies.quant.checks import CheckResult, check_all
from strategies.quant.indicator_specs import synthetic_bars
from strategies.quant.panel import Panel
from strategies.quant.registry import is_panel_plugin, plugin_keys, register, staged
from strategies.quant.signals import PanelSignals, Signals

ENTRY_POINT_GROUP = "alphastrat.strategies"
_MODULE_PREFIX = "alphastrat_user_strategies"


@dataclass(frozen=True, slots=True)
class LoadProblem:
    """Why a user's plug-in cannot be used.

    Attributes
    ----------
    source : str
        Path of the file or name of the entry point.
    line : int
        Line in that file, 1-based; 0 if none can be named.
    message : str
        What is wrong, in plain words.
    """

    source: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Keys that were registered, and problems with those that were not."""

    loaded: tuple[str, ...]
    problems: tuple[LoadProblem, ...]


def load_user_plugins(folder: Path) -> LoadReport:
    """Load, check and register every plug-in file of a folder.

    Parameters
    ----------
    folder : Path
        Its `*.py` files are loaded in name order; names with a leading underscore are skipped.
        A folder that does not exist is an empty one.

    Returns
    -------
    LoadReport
        A file with a problem registers nothing and does not stop the others.
    """
    reports = [
        _load(str(path), lambda path=path: _import_file(path))
        for path in sorted(folder.glob("*.py"))
        if not path.name.startswith("_")
    ]
    return _merged(reports)


def load_entry_points(group: str = ENTRY_POINT_GROUP) -> LoadReport:
    """Load, check and register the plug-ins that installed packages announce.

    Parameters
    ----------
    group : str
        Entry point group; each entry names a module or a plug-in class.

    Returns
    -------
    LoadReport
        As for `load_user_plugins`.
    """
    found: tuple[EntryPoint, ...] = tuple(entry_points(group=group))
    return _merged([_load(f"entry point {point.name}", point.load) for point in found])


def _merged(reports: list[LoadReport]) -> LoadReport:
    return LoadReport(
        loaded=tuple(key for report in reports for key in report.loaded),
        problems=tuple(problem for report in reports for problem in report.problems),
    )


def _load(source: str, load: Any) -> LoadReport:
    # Code of others may raise anything, or leave; it must not keep the application from starting.
    try:
        with staged() as classes:
            load()
    except SyntaxError as error:
        return LoadReport(
            (), (LoadProblem(source, error.lineno or 0, f"syntax error: {error.msg}"),)
        )
    except (Exception, SystemExit) as error:
        return LoadReport((), (_problem(source, error, None),))
    if not classes:
        return LoadReport((), (LoadProblem(source, 0, "no plug-in is registered in this file"),))
    problems = [problem for cls in classes for problem in _problems(source, cls, classes)]
    if problems:
        return LoadReport((), tuple(problems))
    for cls in classes:
        register(cls)
    return LoadReport(tuple(cls.key for cls in classes), ())


def _import_file(path: Path) -> ModuleType:
    name = f"{_MODULE_PREFIX}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and type hints look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _problems(source: str, cls: type[Any], beside: list[type[Any]]) -> Iterator[LoadProblem]:
    line = _first_line(cls)
    is_twice = sum(one.key == cls.key for one in beside) > 1
    if is_twice or cls.key in plugin_keys():
        yield LoadProblem(source, line, f"strategy key {cls.key!r} is already registered")
        return
    try:
        results = check_plugin(cls)
    except (Exception, SystemExit) as error:
        yield _problem(source, error, line)
        return
    for result in results:
        if not result.passed:
            yield LoadProblem(
                source, line, f"{cls.key} fails the {result.name} check: {result.message}"
            )


def check_plugin(cls: type[Any]) -> list[CheckResult]:
    """Check a plug-in with its default parameters on synthetic bars.

    Parameters
    ----------
    cls : type
        A plug-in class.

    Returns
    -------
    list of CheckResult
        Look-ahead, warm-up and determinism.

    Raises
    ------
    TypeError
        If its answer is not one of signals; whatever else its own code raises.
    """
    plugin = cls()
    panel = _test_panel(int(plugin.warmup_bars), 2 if is_panel_plugin(cls) else 1)
    _check_answer(plugin, panel)
    return list(check_all(plugin, panel))


def _check_answer(plugin: Any, panel: Panel) -> None:
    wanted: type[Any]
    if is_panel_plugin(plugin):
        asked, wanted, answer = "panel_signals", PanelSignals, plugin.panel_signals(panel)
    else:
        first = panel.bars(panel.symbols[0])
        asked, wanted, answer = "signals", Signals, plugin.signals(first)
    if not isinstance(answer, wanted):
        given = type(answer).__name__
        raise TypeError(f"{asked}() must return {wanted.__name__}, it returned {given}")


def _test_panel(warmup: int, n_assets: int) -> Panel:
    n_bars = max(600, 2 * warmup + 200)
    history = synthetic_bars(n_bars * n_assets)
    frames = {}
    for j in range(n_assets):
        part = history.iloc[j * n_bars : (j + 1) * n_bars].copy()
        part.index = history.index[:n_bars]
        frames[f"TEST{j + 1}"] = part
    return Panel.from_frames(frames)


def _problem(source: str, error: BaseException, line: int | None) -> LoadProblem:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == source and frame.lineno]
    where = own[-1] if own else line or 0
    return LoadProblem(source, where, f"{type(error).__name__}: {error}")


def _first_line(cls: type[Any]) -> int:
    try:
        return inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return 0
