"""Fonts and colours of what is drawn on the server: the light theme of the pages."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from django.conf import settings

from alphastrat.core.tokens import TokenSet, load_tokens


@cache
def font_path(name: str) -> Path:
    """Return a font file of DejaVu, which comes with matplotlib, without importing that."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise RuntimeError("matplotlib is not installed: what is drawn takes its fonts from it")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name


@cache
def rgb(token: str) -> tuple[int, int, int]:
    """Return a colour token as red, green and blue, each up to 255."""
    value = _tokens().resolve(token, theme="light")["hex"]
    red, green, blue = (int(value[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


@cache
def _tokens() -> TokenSet:
    return load_tokens(Path(settings.BASE_DIR) / "static" / "tokens")
