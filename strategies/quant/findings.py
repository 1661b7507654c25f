"""What is wrong with this backtest? Findings in plain words, with their evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
import pandas as pd

from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant.checks import CheckName, CheckResult
from strategies.quant.overfitting import Stability
from strategies.quant.panel import Panel
from strategies.quant.simulator import SimulationResult

FEW_TRIPS, VERY_FEW_TRIPS = 30, 10
DOMINANT_SHARE = 0.5
LARGE_FILL, HUGE_FILL = 0.01, 0.1
HIGH_SHARPE, IMPLAUSIBLE_SHARPE = 3.0, 5.0
TRIPS_PER_PARAMETER = 10
FLAT_SHARE, IDLE_SHARE = 0.5, 0.25
COST_MARGIN_BPS = 5.0
LEAST_DAYS_MISSING, MISSING_SHARE = 10, 0.05
MOST_NAMED = 5


class Severity(StrEnum):
    """How much a finding matters."""

    WARNING = "warning"
    CRITICAL = "critical"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is or may be wrong.

    Attributes
    ----------
    code : str
        Stable name, such as "few_trips".
    severity : Severity
        How much it matters.
    text : str
        Plain words: what was found and what to do.
    evidence : dict of str to float
        The numbers behind it; fractions, not percent.
    """

    code: str
    severity: Severity
    text: str
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Survivors:
    """Shares of which none has ended before the end of what is stored.

    Attributes
    ----------
    n_instruments : int
        How many there are.
    years : float
        From the start of the period to the newest stored bar.
    is_known : bool
        Whether they are known to have been chosen for surviving.
    """

    n_instruments: int
    years: float
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a backtest besides its result; all of it optional.

    Attributes
    ----------
    warmup_bars : int
        Of the plug-in.
    bars_before : int
        History before the first simulated bar that indicators could use.
    n_free_parameters : int
        Parameters that were or could be optimised.
    checks : sequence of CheckResult
        Of the plug-in.
    stability : Stability or None
        Of the parameter set on its grid.
    break_even_bps : float
        From `monte_carlo.cost_stress`; NaN if unknown, 0 without a profit to take.
    period : tuple of datetime, optional
        First and last time that were asked for; bars may cover less.
    undefined_indicators : mapping of str to sequence of str
        Indicators without any value, each with the symbols it has none for.
    survivors : Survivors, optional
        Given where nothing but survivors is in the universe.
    """

    warmup_bars: int = 0
    bars_before: int = 0
    n_free_parameters: int = 0
    checks: Sequence[CheckResult] = ()
    stability: Stability | None = None
    break_even_bps: float = math.nan
    period: tuple[datetime, datetime] | None = None
    undefined_indicators: Mapping[str, Sequence[str]] = field(default_factory=dict)
    survivors: Survivors | None = None


def undefined_indicators(
    indicators: Mapping[str, FloatArray], symbols: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the indicators that are NaN at every bar of an instrument.

    Parameters
    ----------
    indicators : mapping of str to ndarray of shape (n_bars, n_instruments)
        As the strategy computed them.
    symbols : sequence of str
        Of the columns.

    Returns
    -------
    dict of str to tuple of str
        The symbols for which each such indicator has no value.
    """
    found = {}
    for name, values in indicators.items():
        suspect = np.flatnonzero(np.isnan(values[-1])).tolist() if len(values) else []
        without = [symbols[j] for j in suspect if np.isnan(values[:, j]).all()]
        if without:
            found[name] = tuple(without)
    return found


def find_problems(
    result: SimulationResult, panel: Panel, *, evidence: Evidence | None = None
) -> tuple[Finding, ...]:
    """Return everything that looks wrong with a backtest, the worst first.

    Parameters
    ----------
    result : SimulationResult
        The backtest.
    panel : Panel
        The bars it ran on.
    evidence : Evidence, optional
        What else is known.

    Returns
    -------
    tuple of Finding
        Empty if nothing was found, which is not a proof of anything.
    """
    known = evidence or Evidence()
    found = [
        *_trips(result, known),
        *_concentration(result),
        *_costs(result, known),
        *_curve(result),
        *_plugin(result, known),
        *_bars(result, panel),
        *_coverage(panel, known),
        *_survivorship(known.survivors),
        *_cash(result),
    ]
    order = (Severity.CRITICAL, Severity.WARNING, Severity.NOTE)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _trips(result: SimulationResult, known: Evidence) -> Iterator[Finding]:
    n_trips = len(result.round_trips)
    if n_trips == 0:
        yield Finding(
            "no_trips",
            Severity.CRITICAL,
            "Nothing was bought and sold. Check the parameters, the span and the sizing.",
            {"n_trips": 0, "n_open": len(result.open_trips), "n_denied": result.n_denied},
        )
        return
    if n_trips < FEW_TRIPS:
        yield Finding(
            "few_trips",
            Severity.CRITICAL if n_trips < VERY_FEW_TRIPS else Severity.WARNING,
            f"Only {n_trips} round trips: too few to tell skill from luck. Use a longer span or "
            "more instruments.",
            {"n_trips": n_trips, "wanted": FEW_TRIPS},
        )
    wanted = TRIPS_PER_PARAMETER * known.n_free_parameters
    if n_trips < wanted:
        yield Finding(
            "many_parameters",
            Severity.WARNING,
            f"{known.n_free_parameters} free parameters for {n_trips} round trips: at least "
            f"{TRIPS_PER_PARAMETER} per parameter are wanted. Fix some parameters.",
            {"n_parameters": known.n_free_parameters, "n_trips": n_trips, "wanted": wanted},
        )


def _concentration(result: SimulationResult) -> Iterator[Finding]:
    trips = result.round_trips
    total = float(result.equity[-1] - result.config.initial_cash)
    if total <= 0:
        return
    best = float(trips.pnl.max(initial=0.0))
    if len(trips) > 1 and best > DOMINANT_SHARE * total:
        yield Finding(
            "one_trip",
            Severity.WARNING,
            f"One round trip made {best / total:.0%} of all P&L. Without it little is left.",
            {"share": best / total, "pnl": best, "total": total},
        )
    by_month = _monthly(result)
    if len(by_month) > 3 and by_month.max() > DOMINANT_SHARE * total:
        month = by_month.idxmax()
        yield Finding(
            "one_month",
            Severity.WARNING,
            f"{month} alone made {by_month.max() / total:.0%} of all P&L.",
            {"share": float(by_month.max() / total), "n_months": len(by_month)},
        )
    unrealised = float(result.open_trips.pnl.sum())
    if unrealised > DOMINANT_SHARE * total:
        yield Finding(
            "unrealised",
            Severity.WARNING,
            f"{unrealised / total:.0%} of all P&L is in positions that are still open.",
            {"share": unrealised / total, "pnl": unrealised},
        )


def _monthly(result: SimulationResult) -> pd.Series:
    changes = np.diff(result.equity, prepend=result.config.initial_cash)
    months = result.index.strftime("%B %Y")
    return pd.Series(changes).groupby(np.asarray(months), sort=False).sum()


def _costs(result: SimulationResult, known: Evidence) -> Iterator[Finding]:
    costs = result.config.costs
    commission = costs.commission_per_share + costs.commission_bps + costs.commission_minimum
    slippage = costs.slippage_bps + costs.slippage_volatility
    if commission + slippage == 0:
        text = "Neither commission nor slippage is charged: the result cannot be earned."
        yield Finding("no_costs", Severity.CRITICAL, text, {"commission": 0.0, "slippage": 0.0})
    elif slippage == 0:
        text = "No slippage is charged: every fill is at exactly the printed price."
        yield Finding("no_slippage", Severity.WARNING, text, {"slippage": 0.0})
    went_short = bool((result.round_trips.side < 0).any() or (result.open_trips.side < 0).any())
    if went_short and costs.borrow_bps_per_year == 0:
        text = "Shares are sold short without a borrow cost."
        yield Finding("no_borrow_cost", Severity.NOTE, text, {"borrow_bps_per_year": 0.0})
    if 0.0 < known.break_even_bps < COST_MARGIN_BPS:
        yield Finding(
            "thin_margin",
            Severity.WARNING,
            f"{known.break_even_bps:.1f} bps more per fill take all P&L.",
            {"break_even_bps": known.break_even_bps},
        )


def _curve(result: SimulationResult) -> Iterator[Finding]:
    equity, returns = result.equity, result.returns
    n_bars = len(equity)
    longest = _longest(equity < np.maximum.accumulate(equity))
    if longest > FLAT_SHARE * n_bars:
        yield Finding(
            "long_underwater",
            Severity.WARNING,
            f"No new high for {longest} of {n_bars} bars.",
            {"bars": longest, "share": longest / n_bars},
        )
    idle = _longest(~(result.positions != 0).any(axis=1))
    if len(result.round_trips) and idle > IDLE_SHARE * n_bars:
        yield Finding(
            "long_idle",
            Severity.NOTE,
            f"The curve is flat for {idle} of {n_bars} bars: no position was held.",
            {"bars": idle, "share": idle / n_bars},
        )
    sharpe = _sharpe(returns, result.config.periods_per_year)
    if sharpe > HIGH_SHARPE:
        yield Finding(
            "implausible_sharpe",
            Severity.CRITICAL if sharpe > IMPLAUSIBLE_SHARPE else Severity.WARNING,
            f"A Sharpe ratio of {sharpe:.1f} is rarely real. Look for look-ahead, missing costs "
            "or prices that could not be traded.",
            {"sharpe": sharpe},
        )


def _plugin(result: SimulationResult, known: Evidence) -> Iterator[Finding]:
    for check in known.checks:
        if check.passed:
            continue
        code = {
            CheckName.LOOKAHEAD: "lookahead",
            CheckName.WARMUP: "warmup_check",
            CheckName.DETERMINISM: "not_deterministic",
        }[check.name]
        severity = Severity.WARNING if check.name is CheckName.WARMUP else Severity.CRITICAL
        yield Finding(code, severity, check.message)
    entries = [*result.round_trips.entry_bar, *result.open_trips.entry_bar]
    first = int(min(entries)) if entries else None
    if first is not None and first + known.bars_before < known.warmup_bars:
        yield Finding(
            "short_warmup",
            Severity.WARNING,
            f"The first entry comes after {first + known.bars_before} bars of history, the "
            f"indicators need {known.warmup_bars}: live they would have had other values.",
            {"available": first + known.bars_before, "needed": known.warmup_bars},
        )
    for name, symbols in known.undefined_indicators.items():
        yield Finding(
            "undefined_indicator",
            Severity.CRITICAL,
            f"The indicator {name} has no value at any bar of {_some(symbols)}, so that no signal "
            "can follow from it. Check its parameters against the number of bars, and the "
            "columns that it reads: volume may be missing.",
            {"n_instruments": len(symbols)},
        )
    if known.stability is not None:
        yield from _grid(known.stability)


def _grid(stability: Stability) -> Iterator[Finding]:
    if stability.is_on_edge:
        text = "A chosen parameter is on the edge of its grid: the best may lie beyond. Widen it."
        yield Finding("grid_edge", Severity.WARNING, text)
    if stability.ratio < 0.7:
        yield Finding(
            "spike",
            Severity.CRITICAL if stability.ratio < 0.4 else Severity.WARNING,
            f"Neighbouring parameters keep {stability.ratio:.0%} of the performance: a spike, "
            "not a plateau.",
            {"ratio": stability.ratio, "share_positive": stability.share_positive},
        )


def _bars(result: SimulationResult, panel: Panel) -> Iterator[Finding]:
    is_gap = (result.positions != 0) & ~panel.has_bar
    if is_gap.any():
        symbols = [panel.symbols[j] for j in np.flatnonzero(is_gap.any(axis=0))]
        yield Finding(
            "gaps_in_positions",
            Severity.WARNING,
            f"{int(is_gap.sum())} bars are missing while a position was held, in "
            f"{_some(symbols)}: stops could not act there.",
            {"n_bars": int(is_gap.sum()), "n_instruments": len(symbols)},
        )
    fills = result.fills
    if len(fills) == 0:
        return
    volume = panel.volume[fills.bar, fills.asset]
    share = np.abs(fills.quantity) / np.where(volume > 0, volume, np.nan)
    share = np.where(np.isnan(share), np.inf, share)
    n_large = int((share > LARGE_FILL).sum())
    if n_large:
        largest = float(share.max())
        words = f"up to {largest:.0%}" if math.isfinite(largest) else "some without any volume"
        yield Finding(
            "large_fills",
            Severity.CRITICAL if largest > HUGE_FILL else Severity.WARNING,
            f"{n_large} fills are larger than {LARGE_FILL:.0%} of their bar's volume, {words}.",
            {"n_fills": n_large, "largest_share": largest},
        )


def _coverage(panel: Panel, known: Evidence) -> Iterator[Finding]:
    """Compare the bars of each instrument with the period that was asked for."""
    if known.period is None:
        return
    start, end = (pd.Timestamp(at) for at in known.period)
    tolerated = max(pd.Timedelta(days=LEAST_DAYS_MISSING), MISSING_SHARE * (end - start))
    late, early = [], []
    for j, symbol in enumerate(panel.symbols):
        rows = np.flatnonzero(panel.has_bar[:, j])
        if not len(rows):
            continue
        first, last = panel.index[rows[0]], panel.index[rows[-1]]
        if first - start > tolerated:
            late.append(f"{symbol} from {first:%Y-%m-%d}")
        if end - last > tolerated:
            early.append(f"{symbol} up to {last:%Y-%m-%d}")
    if late or early:
        yield Finding(
            "partial_coverage",
            Severity.WARNING,
            f"There are bars of {_some([*late, *early])} only: the result speaks of less than the "
            "period that was asked for. Import the rest, or shorten the period.",
            {"n_late": len(late), "n_early": len(early)},
        )


def _survivorship(survivors: Survivors | None) -> Iterator[Finding]:
    if survivors is None:
        return
    n, years = survivors.n_instruments, survivors.years
    text = (
        "The companies of the sample market were chosen because they still existed in 2018. Those "
        "that failed on the way are missing: the result is better than it could have been."
        if survivors.is_known
        else f"All {n} instruments still have bars at the end of what is stored, {years:.0f} years "
        "after the period began. If they were chosen today, those that failed on the way are "
        "missing and the result is too good. Use what was listed when the period began."
    )
    yield Finding("survivorship", Severity.NOTE, text, {"n_instruments": n, "years": years})


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"


def _cash(result: SimulationResult) -> Iterator[Finding]:
    if result.is_ruined:
        text = "The account lost everything, after which nothing was entered."
        yield Finding("ruined", Severity.CRITICAL, text, {"equity": float(result.equity.min())})
    if result.n_denied + result.n_partial:
        yield Finding(
            "entries_without_cash",
            Severity.NOTE,
            _cash_words(result.n_denied, result.n_partial),
            {"n_denied": result.n_denied, "n_partial": result.n_partial},
        )


def _cash_words(n_denied: int, n_partial: int) -> str:
    parts = []
    if n_denied:
        parts.append(f"{n_denied} found no cash or size")
    if n_partial:
        parts.append(f"{n_partial} found cash for a part only")
    return f"Of the entries {' and '.join(parts)}."


def _longest(is_true: BoolArray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_true, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _sharpe(returns: FloatArray, periods_per_year: float) -> float:
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    if deviation <= 1e-12:
        return math.nan
    return float(returns.mean()) / deviation * math.sqrt(periods_per_year)
