"""Checks of a plug-in: look-ahead, warm-up, determinism. A user can run each on any strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.panel import Panel, as_panel
from strategies.quant.signals import PanelSignals, panel_signals
from strategies.quant.simulator import Bars

N_CUTS = 12
TOLERANCE = 1e-6
_BIT_NAMES = {1: "long_entry", 2: "long_exit", 4: "short_entry", 8: "short_exit"}


class CheckName(StrEnum):
    """The checks."""

    LOOKAHEAD = "lookahead"
    WARMUP = "warmup"
    DETERMINISM = "determinism"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two answers disagree.

    Attributes
    ----------
    column : str
        Wish, "strength" or the name of an indicator.
    symbol : str
        Instrument.
    bar : int
        Position in the bars that were checked.
    time : datetime
        Its UTC close.
    expected, actual : float
        Value with the whole history, and with what was known then.
    """

    column: str
    symbol: str
    bar: int
    time: datetime
    expected: float
    actual: float


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check.

    Attributes
    ----------
    name : CheckName
        Which check.
    passed : bool
        Whether no difference was found.
    message : str
        Plain words for people.
    difference : Difference or None
        Where it failed first.
    reproduction : str
        Python that shows the difference in a few lines; empty if it passed.
    """

    name: CheckName
    passed: bool
    message: str
    difference: Difference | None = None
    reproduction: str = ""


def check_lookahead(plugin: Any, bars: Bars, *, n_cuts: int = N_CUTS) -> CheckResult:
    """Test whether a plug-in uses bars that were not known yet.

    Two tests at several bars t: the history is cut after t, and all bars after t are changed.
    Neither may alter an answer at or before t.

    Parameters
    ----------
    plugin : StrategyPlugin or PanelPlugin
        An instance.
    bars : DataFrame, mapping of symbol to DataFrame, or Panel
        History to test on.
    n_cuts : int
        Bars t, spread over the second half of the history.

    Returns
    -------
    CheckResult
        Naming the column, the first differing bar and a minimal reproduction.

    Raises
    ------
    ValueError
        If there are fewer than 4 bars.
    """
    panel = as_panel(bars)
    whole = panel_signals(plugin, panel)
    for cut in _cuts(panel, n_cuts):
        known = panel.window(0, cut)
        trials = (
            ("panel.window(0, {cut})", known),
            ("perturb_after(panel, {cut})", perturb_after(panel, cut)),
        )
        for expression, changed in trials:
            answer = panel_signals(plugin, changed)
            found = _first_difference(whole, answer, 0, cut, tolerance=1e-9)
            if found is not None:
                return _lookahead_found(plugin, found, cut, expression.format(cut=cut))
    return CheckResult(
        name=CheckName.LOOKAHEAD,
        passed=True,
        message=f"No answer changed when the future was cut or altered at {n_cuts} bars.",
    )


def check_warmup(plugin: Any, bars: Bars, *, n_cuts: int = N_CUTS) -> CheckResult:
    """Test whether a live window of `warmup_bars` + 1 bars gives the whole history's answer.

    Parameters
    ----------
    plugin, bars, n_cuts
        As in `check_lookahead`.

    Returns
    -------
    CheckResult
        Wishes must be equal, indicators and strength to one part in a million.
    """
    panel = as_panel(bars)
    needed = int(plugin.warmup_bars) + 1
    if panel.n_bars <= needed:
        return CheckResult(
            name=CheckName.WARMUP,
            passed=False,
            message=f"The check needs more than {needed} bars, only {panel.n_bars} are available.",
        )
    whole = panel_signals(plugin, panel)
    for stop in np.linspace(needed, panel.n_bars, n_cuts).astype(int).tolist():
        start = _window_start(panel, stop, needed)
        answer = panel_signals(plugin, panel.window(start, stop))
        found = _first_difference(whole, answer, stop - 1, stop, start=start, tolerance=TOLERANCE)
        if found is not None:
            message = (
                f"{found.column} at {found.time:%Y-%m-%d %H:%M} UTC is {found.actual:g} from a "
                f"window of {needed} bars and {found.expected:g} from the whole history: "
                "warmup_bars is too small."
            )
            code = (
                f"short, whole = panel.window({start}, {stop}), panel.window(0, {stop})\n"
                f"panel_signals(plugin, short).column({found.symbol!r}).at(-1)\n"
                f"panel_signals(plugin, whole).column({found.symbol!r}).at(-1)"
            )
            return CheckResult(
                name=CheckName.WARMUP,
                passed=False,
                message=message,
                difference=found,
                reproduction=code,
            )
    return CheckResult(
        name=CheckName.WARMUP,
        passed=True,
        message=f"Windows of {needed} bars gave the whole history's answer.",
    )


def check_determinism(plugin: Any, bars: Bars) -> CheckResult:
    """Test whether a plug-in answers the same twice, and leaves the bars alone.

    Parameters
    ----------
    plugin, bars
        As in `check_lookahead`.

    Returns
    -------
    CheckResult
        Compared exactly.
    """
    panel = as_panel(bars)
    before = {
        name: getattr(panel, name).copy() for name in ("open", "high", "low", "close", "volume")
    }
    first, second = panel_signals(plugin, panel), panel_signals(plugin, panel)
    found = _first_difference(first, second, 0, panel.n_bars, tolerance=0.0)
    if found is not None:
        message = f"{found.column} differs between two calls on the same bars."
        code = "plugin.signals(bars).frame().equals(plugin.signals(bars).frame())"
        return CheckResult(
            name=CheckName.DETERMINISM,
            passed=False,
            message=message,
            difference=found,
            reproduction=code,
        )
    changed = [
        n for n, old in before.items() if not np.array_equal(old, getattr(panel, n), equal_nan=True)
    ]
    if changed:
        return CheckResult(
            name=CheckName.DETERMINISM,
            passed=False,
            message=f"The plug-in changed {changed[0]} of the bars.",
        )
    return CheckResult(
        name=CheckName.DETERMINISM, passed=True, message="Two calls gave the same answer."
    )


def check_all(plugin: Any, bars: Bars) -> tuple[CheckResult, ...]:
    """Run every check.

    Parameters
    ----------
    plugin, bars
        As in `check_lookahead`.

    Returns
    -------
    tuple of CheckResult
        Look-ahead, warm-up, determinism.
    """
    panel = as_panel(bars)
    return tuple(run_check(name, plugin, panel) for name in CheckName)


def run_check(name: CheckName, plugin: Any, bars: Bars) -> CheckResult:
    """Run one check; look-ahead and warm-up say nothing of a plug-in that answers at random.

    Parameters
    ----------
    name : CheckName
        Which one.
    plugin, bars
        As in `check_lookahead`.

    Returns
    -------
    CheckResult
        One that could not be made has not passed.
    """
    panel = as_panel(bars)
    determinism = check_determinism(plugin, panel)
    if name is CheckName.DETERMINISM:
        return determinism
    if not determinism.passed:
        message = f"It cannot be tested before this is mended: {determinism.message}"
        return CheckResult(name=name, passed=False, message=message)
    return (check_lookahead if name is CheckName.LOOKAHEAD else check_warmup)(plugin, panel)


def perturb_after(panel: Panel, cut: int) -> Panel:
    """Return the panel with every bar from position `cut` on changed to something else.

    Parameters
    ----------
    panel : Panel
        Bars.
    cut : int
        First changed position.

    Returns
    -------
    Panel
        Prices jump by a third and run backwards, volume is doubled; still well-formed bars.
    """
    arrays = {}
    for name in ("open", "high", "low", "close", "volume"):
        changed = getattr(panel, name).copy()
        later = changed[cut:]
        factor = 2.0 if name == "volume" else 4.0 / 3.0
        # Reversing keeps every bar's four prices together, gaps included.
        changed[cut:] = factor * np.where(_same_gaps(panel, cut), later[::-1], later)
        arrays[name] = changed
    return Panel(panel.index, panel.symbols, **arrays)


def _same_gaps(panel: Panel, cut: int) -> Any:
    present = panel.has_bar[cut:]
    return (present == present[::-1]).all(axis=0)[None, :]


def _cuts(panel: Panel, n_cuts: int) -> Iterator[int]:
    if panel.n_bars < 4:
        raise ValueError(f"look-ahead needs at least 4 bars to test, there are {panel.n_bars}")
    cuts = np.linspace(panel.n_bars // 2, panel.n_bars - 1, n_cuts).astype(int)
    yield from sorted({int(cut) for cut in cuts})


def _window_start(panel: Panel, stop: int, needed: int) -> int:
    """Return where a window starts that holds `needed` bars of every listed instrument."""
    present = panel.has_bar[:stop]
    starts: list[int] = []
    for j in range(panel.n_assets):
        rows: IntArray = np.flatnonzero(present[:, j]).astype(np.int64)
        if len(rows):
            starts.append(int(rows[max(0, len(rows) - needed)]))
    return min(starts, default=0)


def _first_difference(
    whole: PanelSignals,
    answer: PanelSignals,
    first: int,
    stop: int,
    *,
    tolerance: float,
    start: int = 0,
) -> Difference | None:
    best: Difference | None = None
    for column, expected, actual in _columns(whole, answer, first, stop, start):
        differs = ~np.isclose(expected, actual, rtol=tolerance, atol=tolerance, equal_nan=True)
        rows, symbols = np.nonzero(differs)
        if len(rows) and (best is None or first + int(rows[0]) < best.bar):
            bar, j = int(rows[0]), int(symbols[0])
            best = Difference(
                column,
                whole.symbols[j],
                first + bar,
                whole.index[first + bar].to_pydatetime(),
                float(expected[bar, j]),
                float(actual[bar, j]),
            )
    return best


def _columns(
    whole: PanelSignals, answer: PanelSignals, first: int, stop: int, start: int
) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    span, own = slice(first, stop), slice(first - start, stop - start)
    for bit, name in _BIT_NAMES.items():
        yield (
            name,
            ((whole.wishes[span] & bit) > 0).astype(np.float64),
            ((answer.wishes[own] & bit) > 0).astype(np.float64),
        )
    yield "strength", whole.strength[span], answer.strength[own]
    indicators: Mapping[str, FloatArray] = answer.indicators
    for name, values in whole.indicators.items():
        yield name, values[span], indicators[name][own]


def _lookahead_found(plugin: Any, found: Difference, cut: int, expression: str) -> CheckResult:
    message = (
        f"{found.column} of {found.symbol} at {found.time:%Y-%m-%d %H:%M} UTC (bar {found.bar}) "
        f"is {found.expected:g} with the whole history and {found.actual:g} when bars from "
        f"{cut} on are cut or changed: it uses the future."
    )
    code = (
        f"plugin = {plugin!r}\n"
        f"whole = panel_signals(plugin, panel).column({found.symbol!r}).frame()\n"
        f"known = panel_signals(plugin, {expression}).column({found.symbol!r}).frame()\n"
        f"whole[{found.column!r}].iloc[{found.bar}], known[{found.column!r}].iloc[{found.bar}]"
    )
    return CheckResult(
        name=CheckName.LOOKAHEAD, passed=False, message=message, difference=found, reproduction=code
    )
