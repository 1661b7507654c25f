"""Files and functions stay small enough to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alphastrat", "strategies", "portfolio", "monitoring")
MAX_MODULE_LINES = 500
MAX_STATEMENTS = 50
MAX_POSITIONAL = 5  # four, and self
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)


def functions(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def count_statements(function: ast.AST) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_is_short(path):
    long = [f.name for f in functions(path) if count_statements(f) > MAX_STATEMENTS]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_package_holds_something(path):
    if path.name == "__init__.py":
        siblings = {p.name for p in path.parent.iterdir()} - {"__init__.py", "__pycache__"}
        assert siblings, f"{name_of(path.parent)} is empty"
