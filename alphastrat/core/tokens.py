"""Design tokens: read the DTCG files, compile them to CSS, check their contrast."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THEMES = ("light", "dark")
LAYERS = "reset, tokens, vendor, base, components, utilities"
MOTIONS = ("fast", "normal", "slow", "flash")
PNL_KEYS = ("profit", "loss", "profit_bg", "loss_bg")
SWAPPED = {"profit": "loss", "loss": "profit", "profit_bg": "loss_bg", "loss_bg": "profit_bg"}
SEED_NAMES = (
    "colors.semantic.status.success",
    "colors.semantic.status.warning",
    "colors.semantic.status.error",
    "colors.financial.status_indicators.active_strategy",
    "colors.financial.status_indicators.failed_strategy",
    "colors.semantic.profit",
    "colors.semantic.loss",
    "typography.semantic.body",
    "typography.semantic.caption",
    "typography.semantic.price",
    "spacing.semantic.lg",
    "spacing.semantic.xl",
    "spacing.semantic.2xl",
    "effects.semantic.card_hover",
    "effects.semantic_transitions.normal",
)
BACKGROUNDS = tuple(
    f"colors.semantic.{name}" for name in ("canvas", "surface", "sunken", "hover", "selected")
)
_ALIAS = re.compile(r"\{(.+)\}")


class TokenError(ValueError):
    """A token file breaks the contract; the message names the token."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its dotted path, its DTCG type and its unresolved value."""

    path: str
    type: str
    value: Any

    @property
    def css_name(self) -> str:
        return css_name(self.path)


@dataclass(frozen=True, slots=True)
class ContrastCheck:
    """The measured contrast of a foreground on a background in one theme."""

    theme: str
    foreground: str
    background: str
    needed: float
    measured: float

    @property
    def passes(self) -> bool:
        return self.measured >= self.needed


class TokenSet:
    """The tokens of every theme, with the theme-independent ones apart."""

    def __init__(
        self, base: Mapping[str, Token], themes: Mapping[str, Mapping[str, Token]]
    ) -> None:
        self.base = dict(base)
        self.own = {theme: dict(tokens) for theme, tokens in themes.items()}
        self._all = {theme: {**self.base, **tokens} for theme, tokens in self.own.items()}

    def tokens(self, theme: str) -> dict[str, Token]:
        return self._all[theme]

    def resolve(self, path: str, *, theme: str) -> Any:
        """Follow aliases from `path` to a plain value."""
        seen: list[str] = []
        value: Any = "{" + path + "}"
        while isinstance(value, str) and (alias := _ALIAS.fullmatch(value)):
            if alias[1] in seen:
                raise TokenError(f"alias loop at {alias[1]}")
            seen.append(alias[1])
            if alias[1] not in self._all[theme]:
                raise TokenError(f"{seen[0]} points to {alias[1]}, which does not exist")
            value = self._all[theme][alias[1]].value
        return value


def css_name(path: str) -> str:
    """Return the custom property of a token: dots and underscores become hyphens."""
    return "--" + path.replace(".", "-").replace("_", "-")


def load_tokens(directory: Path) -> TokenSet:
    """Read the three token files of `directory` and check their structure."""
    base = _read(directory / "base.tokens.json")
    themes = {theme: _read(directory / f"{theme}.tokens.json") for theme in THEMES}
    tokens = TokenSet(base, themes)
    _check_structure(tokens)
    return tokens


def compile_css(tokens: TokenSet) -> str:
    """Return the generated style sheet."""
    parts = [
        "/* Generated from static/tokens/ by manage.py build_tokens. Do not edit. */\n",
        f"@layer {LAYERS};\n@layer tokens {{\n",
        _block(":where(:root)", tokens, list(tokens.base), theme="light"),
        _theme(":where(:root, [data-theme=light])", tokens, theme="light"),
        " @media (prefers-color-scheme: dark) {\n",
        _theme(":where(:root:not([data-theme=light]))", tokens, theme="dark"),
        " }\n",
        _theme(":where([data-theme=dark])", tokens, theme="dark"),
        *_palettes(),
        _reduced_motion(),
        "}\n",
    ]
    return "".join(parts)


def contrast_checks(tokens: TokenSet) -> list[ContrastCheck]:
    """Measure every pair that text, controls or charts rely on, in both themes."""
    return [
        ContrastCheck(theme, front, back, needed, _contrast(tokens, front, back, theme=theme))
        for front, back, needed in _pairs()
        for theme in THEMES
    ]


def _read(path: Path) -> dict[str, Token]:
    return {token.path: token for token in _flatten(json.loads(path.read_text("utf-8")), "", "")}


def _flatten(node: Mapping[str, Any], path: str, inherited: str) -> Iterator[Token]:
    kind = node.get("$type", inherited)
    if "$value" in node:
        yield Token(path, kind, node["$value"])
        return
    for key, child in node.items():
        if key.startswith("$"):
            continue
        if re.search(r"[{}.]", key):
            raise TokenError(f"token name {key!r} holds a reserved character")
        yield from _flatten(child, f"{path}.{key}" if path else key, kind)


def _check_structure(tokens: TokenSet) -> None:
    if unmatched := set(tokens.tokens("light")) ^ set(tokens.tokens("dark")):
        raise TokenError(f"only one theme has {sorted(unmatched)}")
    if missing := [name for name in SEED_NAMES if name not in tokens.tokens("light")]:
        raise TokenError(f"seed tokens are missing: {missing}")
    names = [token.css_name for token in tokens.tokens("light").values()]
    if len(names) != len(set(names)):
        raise TokenError("two tokens share one CSS name")
    for theme in THEMES:
        for path in tokens.tokens(theme):
            tokens.resolve(path, theme=theme)


def _theme(selector: str, tokens: TokenSet, *, theme: str) -> str:
    block = _block(selector, tokens, list(tokens.own[theme]), theme=theme)
    return block.removesuffix(" }\n") + f"  color-scheme: {theme};\n }}\n"


def _block(selector: str, tokens: TokenSet, paths: list[str], *, theme: str) -> str:
    lines = "".join(
        f"  {css_name(path)}: {_css_value(tokens, path, theme=theme)};\n" for path in paths
    )
    return f" {selector} {{\n{lines} }}\n"


def _css_value(tokens: TokenSet, path: str, *, theme: str) -> str:
    token = tokens.tokens(theme)[path]
    if isinstance(token.value, str) and (alias := _ALIAS.fullmatch(token.value)):
        return f"var({css_name(alias[1])})"
    writers: dict[str, Callable[[Any], str]] = {
        "color": _color,
        "dimension": _dimension,
        "fontFamily": _font_family,
        "shadow": _shadow,
        "transition": _transition,
        "typography": _typography,
    }
    if token.type not in writers:
        raise TokenError(f"{path} has the unknown type {token.type!r}")
    return writers[token.type](token.value)


def _number(value: float) -> str:
    return f"{value:g}"


def _dimension(value: Mapping[str, Any]) -> str:
    return _number(value["value"]) + (value["unit"] if value["value"] else "")


def _color(value: Mapping[str, Any]) -> str:
    if value.get("alpha", 1) == 1:
        return str(value["hex"])
    red, green, blue = _channels(value["hex"])
    return f"rgb({red} {green} {blue} / {_number(value['alpha'])})"


def _font_family(value: list[str]) -> str:
    return ", ".join(f'"{family}"' if " " in family else family for family in value)


def _shadow(value: Mapping[str, Any]) -> str:
    lengths = [_dimension(value[key]) for key in ("offsetX", "offsetY", "blur", "spread")]
    return " ".join([*lengths, _color(value["color"])])


def _transition(value: Mapping[str, Any]) -> str:
    curve = ", ".join(_number(point) for point in value["timingFunction"])
    return f"{_number(value['duration']['value'])}ms cubic-bezier({curve})"


def _typography(value: Mapping[str, Any]) -> str:
    family = f"var({css_name(value['fontFamily'][1:-1])})"
    height = _number(value["lineHeight"])
    return f"{value['fontWeight']} {_dimension(value['fontSize'])}/{height} {family}"


def _palettes() -> Iterator[str]:
    for palette in ("blue_orange", "green_red"):
        yield _palette(palette.replace("_", "-"), {key: f"{palette}.{key}" for key in PNL_KEYS})
    yield _palette("red-up", {key: f"green_red.{SWAPPED[key]}" for key in PNL_KEYS})


def _palette(name: str, sources: Mapping[str, str]) -> str:
    rules = " ".join(
        f"{css_name(f'colors.semantic.{key}')}: var({css_name(f'colors.pnl.{source}')});"
        for key, source in sources.items()
    )
    return f" [data-pnl={name}] {{ {rules} }}\n"


def _reduced_motion() -> str:
    rules = " ".join(f"{css_name(f'effects.semantic_transitions.{m}')}: 0ms;" for m in MOTIONS)
    return f" @media (prefers-reduced-motion: reduce) {{ :root {{ {rules} }} }}\n"


def _channels(hex_color: str) -> tuple[int, int, int]:
    red, green, blue = (int(hex_color[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue


def _luminance(hex_color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(channel) for channel in _channels(hex_color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(tokens: TokenSet, front: str, back: str, *, theme: str) -> float:
    dark, light = sorted(
        _luminance(tokens.resolve(path, theme=theme)["hex"]) for path in (front, back)
    )
    return round((light + 0.05) / (dark + 0.05), 2)


def _pairs() -> Iterator[tuple[str, str, float]]:
    yield from _text_pairs()
    yield from _pnl_pairs()
    own = "colors.semantic."
    for name in ("success", "warning", "error", "info"):
        yield f"{own}status.{name}", f"{own}status_bg.{name}", 4.5
        yield f"{own}text.primary", f"{own}status_bg.{name}", 4.5
    yield f"{own}text.on_accent", f"{own}accent", 4.5
    yield f"{own}text.on_accent", f"{own}accent_hover", 4.5
    for name in ("border.control", "focus"):
        yield from ((own + name, background, 3.0) for background in BACKGROUNDS[:3])
    for line in range(1, 7):
        yield f"colors.financial.palette.{line}", f"{own}surface", 3.0
    for end in ("neg", "mid", "pos"):
        yield f"{own}text.primary", f"colors.financial.heat.{end}", 4.5


def _text_pairs() -> Iterator[tuple[str, str, float]]:
    texts = ("text.primary", "text.secondary", "text.muted", "text.link")
    statuses = ("status.success", "status.warning", "status.error", "status.info")
    for name in (*texts, *statuses):
        yield from ((f"colors.semantic.{name}", background, 4.5) for background in BACKGROUNDS)


def _pnl_pairs() -> Iterator[tuple[str, str, float]]:
    for palette in ("teal_red", "blue_orange", "green_red"):
        for key in ("profit", "loss"):
            front = f"colors.pnl.{palette}.{key}"
            yield from ((front, background, 4.5) for background in BACKGROUNDS)
            yield front, f"{front}_bg", 4.5
