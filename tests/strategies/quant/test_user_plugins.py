"""Files of users are checked before they can be used; errors name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from strategies.quant import registry
from strategies.quant.user_plugins import LoadReport, load_entry_points, load_user_plugins

DOCUMENTATION = Path(__file__).resolve().parents[3] / "docs/plug-ins.md"

HEAD = """from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
import pandas as pd
from strategies.quant.parameters import parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import Signals

@register
@dataclass(frozen=True, slots=True)
class Mine(Plugin):
    key: ClassVar[str] = "mine"
    label: ClassVar[str] = "Mine"
    warmup_bars: ClassVar[int] = 5
    days: int = parameter(3, label="Days", low=1, high=20)
"""
GOOD = """
    def signals(self, bars: pd.DataFrame) -> Signals:
        rises = (bars["close"].diff(self.days) > 0).to_numpy()
        return Signals.of(bars, long_entry=rises, long_exit=~rises)
"""
PEEKS = GOOD.replace("diff(self.days)", "diff(-self.days)")
RETURNS = """
    def signals(self, bars: pd.DataFrame) -> Signals:
        return bars["close"] > 1
"""
COUNTS = GOOD.replace("long_entry=rises", "long_entry=rises.astype(int)")
FAILS = """
    def signals(self, bars: pd.DataFrame) -> Signals:
        return bars["price"]
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.load_builtin_plugins()
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    monkeypatch.setattr(registry, "_is_sealed", False)


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_good_file_is_registered_and_built(tmp_path: Path) -> None:
    _write(tmp_path, "mine.py", HEAD + GOOD)
    report = load_user_plugins(tmp_path)
    assert report.problems == ()
    assert report.loaded == ("mine",)
    assert registry.build("mine", {"days": 4}).days == 4


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + PEEKS, 9, "lookahead check"),
        (HEAD + FAILS, 18, "KeyError"),
        (HEAD + RETURNS, 9, "signals() must return Signals, it returned Series"),
        (HEAD + COUNTS, 19, "must be true or false at every bar, not int64"),
        (HEAD + GOOD + HEAD.partition("@")[1] + HEAD.partition("@")[2] + GOOD, 9, "already regist"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
        (HEAD + "\n    def signals(self bars):\n", 17, "syntax error"),
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError"),
        ("x = 1\n\ny = x / 0\n", 3, "ZeroDivisionError"),
        ("x = 1\n", 0, "no plug-in is registered"),
        (HEAD.replace('"mine"', '"rsi_mean_reversion"') + GOOD, 9, "already registered"),
        (HEAD.replace("frozen=True", "frozen=False") + GOOD, 9, "must be a frozen dataclass"),
        (HEAD.replace("ClassVar[int] = 5", "ClassVar[int] = 1") + GOOD, 9, "warmup check"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = _write(tmp_path, "mine.py", text)
    report = load_user_plugins(tmp_path)
    assert report.loaded == ()
    assert report.problems[0].source == str(path)
    assert report.problems[0].line == line
    assert words in report.problems[0].message
    assert "mine" not in registry.plugin_keys()


def test_the_example_of_the_documentation_passes(tmp_path: Path) -> None:
    text = DOCUMENTATION.read_text().partition("```python\n")[2].partition("```")[0]
    _write(tmp_path, "pullback.py", text)
    assert load_user_plugins(tmp_path) == LoadReport(("pullback",), ())


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    _write(tmp_path, "a_bad.py", "1 / 0\n")
    _write(tmp_path, "b_good.py", HEAD + GOOD)
    _write(tmp_path, "_skipped.py", "1 / 0\n")
    report = load_user_plugins(tmp_path)
    assert report.loaded == ("mine",)
    assert len(report.problems) == 1
    assert str(report.problems[0]).endswith("a_bad.py:1: ZeroDivisionError: division by zero")


def test_a_missing_folder_and_an_unknown_group_are_empty(tmp_path: Path) -> None:
    assert load_user_plugins(tmp_path / "none").loaded == ()
    assert load_entry_points("alphastrat.nothing.here").problems == ()


SIX = "".join(f"    p{k}: int = parameter(3, label='P', low=1, high=20)\n" for k in range(6))


def test_more_than_five_free_parameters_need_a_reason(tmp_path: Path) -> None:
    path = _write(tmp_path, "mine.py", HEAD + SIX + GOOD)
    assert "at most 5 are allowed" in load_user_plugins(tmp_path).problems[0].message
    reason = '    parameter_override_reason: ClassVar[str] = "a published rule"\n'
    path.write_text(HEAD + reason + SIX + GOOD)
    assert load_user_plugins(tmp_path).loaded == ("mine",)


def test_a_sealed_registry_refuses_late_comers(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = registry.plugin("rsi_mean_reversion")
    with pytest.raises(ValueError, match="already registered"):
        registry.register(cls)
    registry.seal()
    assert registry.is_sealed()
    with pytest.raises(ValueError, match="sealed"):
        registry.register(cls)


def test_a_badly_declared_parameter_is_refused(tmp_path: Path) -> None:
    text = HEAD.replace(", low=1, high=20", "") + GOOD
    _write(tmp_path, "mine.py", text)
    assert "Mine.days needs low and high" in load_user_plugins(tmp_path).problems[0].message
