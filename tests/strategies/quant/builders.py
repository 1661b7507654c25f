"""Builders for the tests of strategies/quant: plain functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from strategies.quant.panel import Panel
from strategies.quant.signals import PanelSignals, Signals

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"


def make_bars(rows: list[tuple[float, ...]], *, start: str = "2024-01-01") -> pd.DataFrame:
    """Daily bars from (open, high, low, close) rows; volume 1000."""
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=np.float64)
    frame["volume"] = 1000.0
    frame.index = pd.date_range(start, periods=len(rows), tz="UTC")
    return frame


def make_wishes(bars: pd.DataFrame, wishes: dict[int, int]) -> Signals:
    """Signals with the given bit field at the given bars."""
    packed = np.zeros(len(bars), np.uint8)
    for bar, wish in wishes.items():
        packed[bar] = wish
    return Signals(pd.DatetimeIndex(bars.index), packed, np.ones(len(bars)))


def random_panel(rng: np.random.Generator, n_bars: int, n_assets: int) -> Panel:
    """Random walks with gaps between bars; the second instrument lists late and misses bars."""
    frames = {}
    index = pd.date_range("2024-01-01", periods=n_bars, tz="UTC")
    for j in range(n_assets):
        close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, n_bars)))
        opening = close * np.exp(rng.normal(0.0, 0.02, n_bars))
        high = np.maximum(opening, close) * np.exp(np.abs(rng.normal(0.0, 0.02, n_bars)))
        low = np.minimum(opening, close) * np.exp(-np.abs(rng.normal(0.0, 0.02, n_bars)))
        frame = pd.DataFrame(
            {"open": opening, "high": high, "low": low, "close": close, "volume": 1e5}, index=index
        )
        kept = np.ones(n_bars, bool)
        if j % 2 == 1:
            kept = rng.random(n_bars) > 0.1
            kept[: n_bars // 5] = False
            kept[-1] = True
        frames[f"S{j}"] = frame[kept]
    return Panel.from_frames(frames)


def random_signals(rng: np.random.Generator, panel: Panel, density: float = 0.15) -> PanelSignals:
    """Independent wishes of every kind."""
    shape = (panel.n_bars, panel.n_assets)
    wishes = np.zeros(shape, np.uint8)
    for bit in (1, 2, 4, 8):
        wishes |= ((rng.random(shape) < density) * bit).astype(np.uint8)
    wishes[~panel.has_bar] = 0
    return PanelSignals(panel.index, panel.symbols, wishes, rng.random(shape).round(1))


def load_fixture(name: str) -> dict[str, Any]:
    """A published example: inputs, and expected values by name with their tolerance."""
    fixture: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    fixture["values"] = {row["name"]: row["value"] for row in fixture["expected"]}
    return fixture


def load_csv_bars(name: str) -> pd.DataFrame:
    """Bars of a fixture's CSV, its dates taken as UTC closes."""
    frame = pd.read_csv(FIXTURES / "data" / name, index_col=0, parse_dates=True)
    frame.columns = frame.columns.str.lower()
    frame.index = frame.index.tz_localize("UTC")
    return frame[["open", "high", "low", "close", "volume"]].astype(np.float64)
