"""The checks catch what they are for, and name where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from strategies.quant.checks import (
    check_all,
    check_determinism,
    check_lookahead,
    check_warmup,
    perturb_after,
)
from strategies.quant.indicators import rsi
from strategies.quant.parameters import parameter
from strategies.quant.plugins.rsi_mean_reversion import RsiMeanReversion
from strategies.quant.registry import Plugin
from strategies.quant.signals import Signals
from tests.strategies.quant.builders import random_panel

PANEL = random_panel(np.random.default_rng(11), 700, 2)


@dataclass(frozen=True, slots=True)
class Peeks(Plugin):
    """Knows the next close."""

    key: ClassVar[str] = "peeks"
    label: ClassVar[str] = "Peeks"
    warmup_bars: ClassVar[int] = 1

    def signals(self, bars: pd.DataFrame) -> Signals:
        change = bars["close"].pct_change().shift(-1).to_numpy()
        return Signals.of(bars, long_entry=change > 0, indicators={"change": change})


@dataclass(frozen=True, slots=True)
class Normalises(Plugin):
    """Uses the mean of the whole sample."""

    key: ClassVar[str] = "normalises"
    label: ClassVar[str] = "Normalises"
    warmup_bars: ClassVar[int] = 1

    def signals(self, bars: pd.DataFrame) -> Signals:
        close = bars["close"].to_numpy()
        return Signals.of(bars, long_entry=close > close.mean())


@dataclass(frozen=True, slots=True)
class ShortWarmup(Plugin):
    """Says that three bars suffice for a Wilder average."""

    key: ClassVar[str] = "short_warmup"
    label: ClassVar[str] = "Short warm-up"

    period: int = parameter(14, label="Period", low=2, high=50)

    @property
    def warmup_bars(self) -> int:
        return self.period + 3

    def signals(self, bars: pd.DataFrame) -> Signals:
        values = rsi(bars["close"].to_numpy(np.float64), self.period)
        return Signals.of(bars, long_entry=values < 30, indicators={"rsi": values})


@dataclass(frozen=True, slots=True)
class Random(Plugin):
    """Tosses a coin."""

    key: ClassVar[str] = "random"
    label: ClassVar[str] = "Random"
    warmup_bars: ClassVar[int] = 1

    def signals(self, bars: pd.DataFrame) -> Signals:
        return Signals.of(bars, long_entry=np.random.default_rng().random(len(bars)) < 0.5)


@dataclass(frozen=True, slots=True)
class Writes(Plugin):
    """Changes the bars that it was given."""

    key: ClassVar[str] = "writes"
    label: ClassVar[str] = "Writes"
    warmup_bars: ClassVar[int] = 1

    def panel_signals(self, panel):  # type: ignore[no-untyped-def]
        from strategies.quant.signals import PanelSignals

        panel.close[0, 0] += 1.0
        return PanelSignals.of(panel)


def test_a_future_close_is_caught_and_named() -> None:
    result = check_lookahead(Peeks(), PANEL)
    assert not result.passed
    assert result.difference is not None
    assert result.difference.column in {"long_entry", "change"}
    assert result.difference.time == PANEL.index[result.difference.bar].to_pydatetime()
    assert "uses the future" in result.message
    assert f"iloc[{result.difference.bar}]" in result.reproduction
    assert "window" in result.reproduction or "perturb_after" in result.reproduction


def test_the_reproduction_shows_the_difference() -> None:
    result = check_lookahead(Peeks(), PANEL)
    setup, last = result.reproduction.rsplit("\n", 1)
    scope = {"panel": PANEL, "Peeks": Peeks, "perturb_after": perturb_after}
    from strategies.quant.signals import panel_signals

    scope["panel_signals"] = panel_signals  # type: ignore[assignment]
    exec(setup, scope)
    whole, known = eval(last, scope)
    assert not np.array_equal(whole, known, equal_nan=True)


def test_normalising_over_the_whole_sample_is_caught() -> None:
    assert not check_lookahead(Normalises(), PANEL).passed


def test_too_short_a_warmup_is_caught_with_its_column() -> None:
    result = check_warmup(ShortWarmup(), PANEL)
    assert not result.passed
    assert result.difference is not None
    assert result.difference.column == "rsi"
    assert "warmup_bars is too small" in result.message


def test_a_warmup_longer_than_the_history_cannot_be_checked() -> None:
    result = check_warmup(RsiMeanReversion(), PANEL.window(0, 100))
    assert not result.passed
    assert "only 100 are available" in result.message


def test_a_coin_is_caught() -> None:
    assert not check_determinism(Random(), PANEL).passed


def test_what_answers_at_random_is_not_blamed_for_looking_ahead() -> None:
    lookahead, warmup, determinism = check_all(Random(), PANEL)
    assert not determinism.passed
    for result in (lookahead, warmup):
        assert not result.passed
        assert result.message == (
            f"It cannot be tested before this is mended: {determinism.message}"
        )


def test_a_plugin_that_writes_to_the_bars_is_caught() -> None:
    copy = PANEL.window(0, 50)
    copy = type(copy)(
        copy.index,
        copy.symbols,
        *(getattr(copy, n).copy() for n in ("open", "high", "low", "close", "volume")),
    )
    result = check_determinism(Writes(), copy)
    assert not result.passed
    assert "changed close" in result.message


def test_an_honest_plugin_passes_every_check() -> None:
    assert all(result.passed for result in check_all(RsiMeanReversion(), PANEL))


def test_perturbed_bars_are_still_bars_and_the_past_is_kept() -> None:
    changed = perturb_after(PANEL, 400)
    np.testing.assert_array_equal(changed.close[:400], PANEL.close[:400])
    assert (changed.has_bar == PANEL.has_bar).all()
    for symbol in PANEL.symbols:
        bars = changed.bars(symbol)
        assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()


def test_a_history_too_short_to_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 bars"):
        check_lookahead(RsiMeanReversion(), PANEL.window(0, 3))
