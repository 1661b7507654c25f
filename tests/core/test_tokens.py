"""The tokens hold their names, compile to the committed style sheet, and can be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from alphastrat.core.tokens import (
    SEED_NAMES,
    TokenError,
    compile_css,
    contrast_checks,
    css_name,
    load_tokens,
)

STATIC = Path(settings.BASE_DIR) / "static"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(STATIC / "tokens", tmp_path / "tokens")
    return tmp_path / "tokens"


def edit(path: Path, keys: list[str], value: object) -> None:
    content = json.loads(path.read_text("utf-8"))
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    path.write_text(json.dumps(content), "utf-8")


def test_tokens_css_is_up_to_date() -> None:
    assert (STATIC / "css" / "tokens.css").read_text("utf-8") == compile_css(
        load_tokens(STATIC / "tokens")
    )


def test_every_seed_token_is_a_custom_property() -> None:
    css = (STATIC / "css" / "tokens.css").read_text("utf-8")
    assert [name for name in SEED_NAMES if f"{css_name(name)}:" not in css] == []


def test_all_contrast_checks_pass() -> None:
    checks = contrast_checks(load_tokens(STATIC / "tokens"))
    assert len(checks) == 202
    assert [check for check in checks if not check.passes] == []


def test_contrast_is_that_of_wcag() -> None:
    # White on #1d4fb8 is 7.34, computed with the WebAIM contrast checker's formula.
    checks = contrast_checks(load_tokens(STATIC / "tokens"))
    (found,) = (
        check
        for check in checks
        if check.theme == "light"
        and check.foreground.endswith("text.on_accent")
        and check.background.endswith("semantic.accent")
    )
    assert found.measured == 7.34


def test_a_faint_text_fails_the_gate(copied: Path) -> None:
    edit(
        copied / "light.tokens.json",
        ["colors", "semantic", "text", "muted", "$value"],
        {"hex": "#999999"},
    )
    failed = [check for check in contrast_checks(load_tokens(copied)) if not check.passes]
    assert {check.foreground for check in failed} == {"colors.semantic.text.muted"}


def test_a_token_of_one_theme_only_is_refused(copied: Path) -> None:
    edit(
        copied / "dark.tokens.json", ["colors", "semantic", "extra"], {"$value": {"hex": "#000000"}}
    )
    with pytest.raises(TokenError, match="only one theme has"):
        load_tokens(copied)


def test_an_alias_loop_is_refused(copied: Path) -> None:
    for theme in ("light", "dark"):
        edit(
            copied / f"{theme}.tokens.json",
            ["colors", "semantic", "profit", "$value"],
            "{colors.semantic.profit}",
        )
    with pytest.raises(TokenError, match="alias loop"):
        load_tokens(copied)


def test_build_tokens_refuses_a_stale_style_sheet(copied: Path, settings: object) -> None:
    root = copied.parent / "root" / "static"
    shutil.copytree(copied, root / "tokens")
    (root / "css").mkdir()
    settings.BASE_DIR = root.parent  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match="out of date"):
        call_command("build_tokens", "--check")
    call_command("build_tokens")
    call_command("build_tokens", "--check")
