"""Templates and sheets keep to the strict Content Security Policy and to the tokens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import get_template

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted(
    path for path in (ROOT / "templates").rglob("*.html") if "emails" not in path.parts
)
SHEETS = [path for path in (ROOT / "static/css").glob("*.css") if path.name != "tokens.css"]
SCRIPTS = sorted((ROOT / "static/js").glob("*.js"))

FORBIDDEN_IN_TEMPLATES = {
    "inline script": re.compile(r"<script(?![^>]*(\bsrc=|application/json))[^>]*>", re.I),
    "inline style element": re.compile(r"<style\b", re.I),
    "style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.I),
    "event attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.I),
    "hx-on": re.compile(r"\bhx-on[:-]", re.I),
    "script address": re.compile(r"(href|src|action)\s*=\s*[\"']?\s*javascript:", re.I),
    "htmx expression": re.compile(r"hx-(vals|headers)[^=]*=[\"']\s*js:", re.I),
    "htmx trigger filter": re.compile(r"hx-trigger=\"[^\"]*\["),
    "foreign origin": re.compile(r"(src|href)=[\"'](https?:)?//", re.I),
    "colour": re.compile(r"[\"'\s:]#[0-9a-fA-F]{6}\b"),
}
FORBIDDEN_IN_SHEETS = {
    "hex colour": re.compile(r"#[0-9a-fA-F]{3,8}\b"),
    "colour function": re.compile(r"\b(rgb|rgba|hsl|hsla|oklch|oklab|lab|lch)\("),
    "font size in pixels": re.compile(r"font(-size)?\s*:[^;]*\dpx"),
    "milliseconds": re.compile(r"\b\d+ms\b"),
}
FORBIDDEN_IN_SCRIPTS = {
    "eval": re.compile(r"\beval\(|new Function\("),
    "markup from text": re.compile(r"\.(innerHTML|outerHTML)\s*=|insertAdjacentHTML"),
    "hex colour": re.compile(r"['\"]#[0-9a-fA-F]{3,8}['\"]"),
    "foreign origin": re.compile(r"https?://(?!\$)"),
}


def faults(paths: list[Path], rules: dict[str, re.Pattern[str]]) -> list[str]:
    found = []
    for path in paths:
        text = path.read_text("utf-8")
        for rule, pattern in rules.items():
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(ROOT)}:{line}: {rule}: {match[0][:60]!r}")
    return found


def test_templates_hold_nothing_the_policy_forbids() -> None:
    assert faults(TEMPLATES, FORBIDDEN_IN_TEMPLATES) == []


def test_sheets_take_every_colour_size_and_time_from_the_tokens() -> None:
    assert faults(SHEETS, FORBIDDEN_IN_SHEETS) == []


def test_scripts_build_no_markup_and_no_code_from_text() -> None:
    assert faults(SCRIPTS, FORBIDDEN_IN_SCRIPTS) == []


def test_sheets_use_only_tokens_that_exist() -> None:
    tokens = (ROOT / "static/css/tokens.css").read_text("utf-8")
    defined = set(re.findall(r"(--[\w-]+):", tokens))
    for sheet in SHEETS:
        text = sheet.read_text("utf-8")
        own = set(re.findall(r"(--[\w-]+):", text))
        known = defined | own | {"--row", "--bar"}
        assert set(re.findall(r"var\((--[\w-]+)", text)) <= known, sheet.name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_template_compiles(path: Path) -> None:
    get_template(str(path.relative_to(ROOT / "templates")))


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("<script>alert(1)</script>", "inline script"),
        ('<p style="color: red">', "style attribute"),
        ('<a onclick="go()">', "event attribute"),
        ('<div hx-trigger="click[ctrlKey]">', "htmx trigger filter"),
        ('<img src="https://example.org/a.png">', "foreign origin"),
    ],
)
def test_each_rule_catches_its_fault(source: str, rule: str) -> None:
    assert FORBIDDEN_IN_TEMPLATES[rule].search(source)
