"""Checks and verdicts in words: value, expected interval, evidence, and a plain sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from monitoring.quant import budget as budgets
from monitoring.quant import status
from monitoring.quant.control_charts import LIMIT, SLACK, cusum
from monitoring.quant.degradation import Assessment
from monitoring.quant.divergence import KIND_WORDS, REASON_WORDS
from monitoring.quant.observations import LiveObservations
from monitoring.quant.signal_tally import Differences
from monitoring.quant.status import Standing


class CheckState(StrEnum):
    """How one check stands."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    STALE = "stale"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of live trading with its promise.

    Attributes
    ----------
    key, label : str
        Name for machines and for people.
    state : CheckState
        How it stands.
    value, low, high : float or None
        What was observed and the interval that was promised; None where open or unknown.
    unit : str
        percent, ratio, count, bps or days: how to write the three.
    e_value : float or None
        Evidence against the promise; None for checks that are no test.
    text : str
        The same as a sentence.
    """

    key: str
    label: str
    state: CheckState
    value: float | None
    low: float | None
    high: float | None
    unit: str
    e_value: float | None
    text: str


LABELS = {
    "return": "Mean return",
    "volatility": "Volatility",
    "drawdown": "Drawdown",
    "envelope": "Place in the envelope",
    "win_rate": "Win rate",
    "frequency": "Round trips",
    "slippage": "Fills against shadow",
    "matching": "Missed and extra fills",
    "signals": "Signals against shadow",
    "drift": "CUSUM drift",
    "freshness": "Newest bar",
}


_NOT_RUN = (CheckState.NOT_RUN, math.nan, math.nan, math.nan)


class Judgement:
    """Columns of every check, from which the documents of single strategies are cut.

    Parameters
    ----------
    live : LiveObservations
        What was observed.
    found : Assessment
        What it amounts to.
    hard_drawdown : ndarray of shape (n_strategies,)
        The owner's own limits, NaN for none.
    days_since_bar : ndarray of shape (n_strategies,)
        Age of the newest bar.
    is_stale : ndarray of bool, shape (n_strategies,)
        Whether a newer one should be there.
    """

    def __init__(
        self,
        live: LiveObservations,
        found: Assessment,
        *,
        hard_drawdown: FloatArray,
        days_since_bar: FloatArray,
        is_stale: BoolArray,
    ) -> None:
        self._found = found
        self._promise = {name: column.tolist() for name, column in live.promise.items()}
        self._n_bars = found.n_bars.tolist()
        self._n_trips = found.n_trips.tolist()
        self._days = days_since_bar.tolist()
        self._is_stale = is_stale.tolist()
        self._has_shadow = live.has_shadow.tolist()
        log_e = np.stack([_newest(part.log_e) for part in found.evidence])
        log_r = np.stack([_newest(part.log_r) for part in found.evidence])
        seen = np.stack([_newest(part.n_observations) for part in found.evidence])
        self._e = np.exp(np.minimum(log_e, 700.0)).T.tolist()
        self._seen = (np.nan_to_num(seen) * found.has_detector).T.tolist()
        over = log_r.T - found.log_levels
        is_noted = (over >= 0) | (math.log(status.DEGRADED_E) <= log_e.T)
        is_broken = over >= math.log(budgets.DEGRADED_OVER_WATCH)
        self._level = (is_noted * 1 + (is_noted & is_broken) * 1).tolist()
        self._limits = hard_drawdown.tolist()
        self._is_discovery = found.is_discovery.tolist()
        self._score = found.score.tolist()
        self._times, self._signals_e = live.times, found.signals.e_value.tolist()
        self._n_signals = found.signals.counted.compared.sum(axis=1).tolist()
        self._differences = found.signals.differences()
        self._live = _live_columns(live, found)
        self.e_value: list[float] = found.e_value.tolist()

    def checks(self, i: int) -> list[Check]:
        """Return the checks of one strategy, in the order of `LABELS`."""
        return [
            self._mean(i),
            self._volatility(i),
            self._drawdown(i),
            self._envelope(i),
            self._win_rate(i),
            self._frequency(i),
            self._slippage(i),
            self._matching(i),
            self._signals(i),
            self._drift(i),
            self._freshness(i),
        ]

    def reason(self, i: int, checks: list[Check], standing: Standing) -> str:
        """Return why a strategy stands as it does, in one or two sentences."""
        if standing is Standing.INSUFFICIENT:
            return self._missing(i)
        if standing is Standing.VERIFIED:
            return (
                f"No flag in {self._n_bars[i]} bars, and live follows its shadow: "
                f"{_text(checks, 'slippage')} {_text(checks, 'matching')}"
            )
        if standing is Standing.MONITORING:
            return f"No sign of degradation in {self._n_bars[i]} bars. {self._not_verified(i)}"
        flagged = [one for one in checks if one.state in (CheckState.FAIL, CheckState.WARN)]
        counted = [one for one in flagged if one.key not in ("drift", "freshness")]
        counted.sort(key=lambda one: (one.state is not CheckState.FAIL, -(one.e_value or 0.0)))
        words = [*self._general(i), *(one.text for one in counted[:2])]
        return " ".join(words) or self._lasting(standing)

    def _general(self, i: int) -> list[str]:
        """Return the reasons that are not those of one check."""
        words = []
        whole, limit = self._live["whole_drawdown"][i], self._limits[i]
        if whole < limit:
            words.append(
                f"Drawdown {_percent(whole, 1)} is beyond your own limit of {_percent(limit, 1)}."
            )
        if self.e_value[i] >= status.DEGRADED_E:
            words.append(f"All checks together give evidence of {_e(self.e_value[i])}.")
        if self._is_discovery[i]:
            words.append("It stands out among all strategies at a false discovery rate of 10 %.")
        if self._score[i] < status.WATCH_SCORE:
            words.append(f"The health score is {self._score[i]:.0f}.")
        return words

    def _lasting(self, standing: Standing) -> str:
        rest = (
            "and the verdict has not been acknowledged."
            if standing >= Standing.DEGRADED
            else f"until {status.CLEAN_BARS} bars in a row are clean."
        )
        return f"The cause has passed; {standing.key} stays {rest}"

    def _missing(self, i: int) -> str:
        bars, trips = self._promise["n_bars"][i], self._promise["n_trips"][i]
        if math.isnan(bars):
            return "Insufficient data: no validated backtest to compare with."
        short = [
            f"{n:.0f} of {least} {word}"
            for n, least, word in (
                (bars, status.LEAST_REFERENCE_BARS, "bars"),
                (trips, status.LEAST_REFERENCE_TRIPS, "round trips"),
            )
            if n < least
        ]
        if short:
            words = " and ".join(short)
            return f"Insufficient data: the backtest has {words} that a reference needs."
        return (
            f"Insufficient data: {self._n_bars[i]} of {status.LEAST_BARS} bars and "
            f"{self._n_trips[i]} of {status.LEAST_TRIPS} round trips."
        )

    def _not_verified(self, i: int) -> str:
        if not self._has_shadow[i]:
            return "Verified needs the shadow, which has not been computed yet."
        live = self._live
        bound, missing = live["gap_bound"][i], []
        if not (live["gap_low"][i] > -bound and live["gap_high"][i] < bound):
            missing.append("more fills, or closer ones, to be sure that live equals its shadow")
        if not live["match_rate"][i] >= status.LEAST_MATCH_RATE:
            missing.append(f"{status.LEAST_MATCH_RATE:.0%} of fills matched")
        if not live["correlation"][i] >= status.LEAST_CORRELATION:
            missing.append(f"a correlation with the shadow of {status.LEAST_CORRELATION}")
        if not live["signals_close"][i]:
            missing.append(f"{status.LEAST_MATCH_RATE:.0%} of signals agreeing, none repainted")
        return f"Verified needs {' and '.join(missing)}." if missing else "Verified comes next."

    def _tested(self, i: int, detector: int) -> tuple[CheckState, float | None]:
        if not self._seen[i][detector]:
            return CheckState.NOT_RUN, None
        level = self._level[i][detector]
        state = (CheckState.PASS, CheckState.WARN, CheckState.FAIL)[level]
        return state, self._e[i][detector]

    def _mean(self, i: int) -> Check:
        state, e_value = self._tested(i, budgets.RETURN)
        value, low = self._live["mean"][i], self._promise["mean_floor"][i]
        text = f"Mean return {_percent(value, 3)} per bar, at least {_percent(low, 3)} promised"
        return _check("return", state, value, low, math.nan, "percent", e_value, text)

    def _volatility(self, i: int) -> Check:
        ratio = self._live["volatility_share"][i]
        state = CheckState.NOT_RUN
        if not math.isnan(ratio):
            state = CheckState.WARN if ratio >= 1.0 else CheckState.PASS
        year = math.sqrt(self._promise["periods_per_year"][i])
        value, expected = (
            self._live["deviation"][i] * year,
            self._promise["deviation"][i] * year,
        )
        text = f"Volatility {_percent(value, 1)} a year, {_percent(expected, 1)} promised"
        return _check("volatility", state, value, math.nan, expected, "percent", None, text)

    def _drawdown(self, i: int) -> Check:
        value = self._live["drawdown"][i]
        degraded, failed = self._promise["drawdown_95"][i], self._promise["drawdown_99"][i]
        state = CheckState.NOT_RUN
        if not math.isnan(degraded) and not math.isnan(value):
            state = CheckState.FAIL if value < degraded else CheckState.PASS
        bound, share = (failed, 1) if value < failed else (degraded, 5)
        text = (
            f"Drawdown {_percent(value, 1)}; {share} % of healthy years go beyond "
            f"{_percent(bound, 1)}"
        )
        return _check("drawdown", state, value, degraded, math.nan, "percent", None, text)

    def _envelope(self, i: int) -> Check:
        departure, band = self._live["departure"][i], self._live["band"][i]
        value = self._live["percentile"][i]
        state = CheckState.NOT_RUN
        if not math.isnan(departure) and not math.isnan(band):
            state = CheckState.WARN if abs(departure) > band else CheckState.PASS
        side = "below" if departure < 0 else "above"
        text = f"The path is at percentile {_number(100 * value, 0)} of the envelope"
        if state is CheckState.WARN:
            text = f"The path has left the envelope, {side} it"
        return _check("envelope", state, value, math.nan, math.nan, "percent", None, text)

    def _win_rate(self, i: int) -> Check:
        state, e_value = self._tested(i, budgets.WIN_RATE)
        value, low = self._live["win_rate"][i], self._promise["win_rate_limit"][i]
        text = f"Win rate {_percent(value, 0)}, at least {_percent(low, 0)} promised"
        return _check("win_rate", state, value, low, math.nan, "percent", e_value, text)

    def _frequency(self, i: int) -> Check:
        state, e_value = self._tested(i, budgets.FREQUENCY)
        value = self._live["trips_per_bar"][i] * 21
        low, high = (
            self._promise["trips_per_bar_low"][i] * 21,
            self._promise["trips_per_bar_high"][i] * 21,
        )
        text = (
            f"{_number(value, 1)} round trips in 21 bars, "
            f"{_number(low, 1)} to {_number(high, 1)} promised"
        )
        return _check("frequency", state, value, low, high, "count", e_value, text)

    def _slippage(self, i: int) -> Check:
        state, e_value = self._tested(i, budgets.SLIPPAGE)
        live = self._live
        value, bound = live["gap"][i] * 1e4, live["gap_bound"][i] * 1e4
        text = (
            f"Live less shadow {_number(value, 1)} bp per fill, between "
            f"{_number(live['gap_low'][i] * 1e4, 1)} and {_number(live['gap_high'][i] * 1e4, 1)}, "
            f"the same within {_number(bound, 1)}"
        )
        return _check("slippage", state, value, -bound, bound, "bps", e_value, text)

    def _matching(self, i: int) -> Check:
        state, e_value = self._tested(i, budgets.MATCHING)
        value, low = self._live["match_rate"][i], budgets.MATCH_RATE
        text = f"{_percent(value, 0)} of fills have their counterpart, {_percent(low, 0)} needed"
        return _check("matching", state, value, low, math.nan, "percent", e_value, text)

    def signals(self, i: int) -> dict[str, Any]:
        """Return how the live signals of one strategy compare with those of the re-run."""
        found = self._differences.get(i)
        if found is None:
            return {"n_compared": self._n_signals[i], "n_differing": 0}
        return {
            "n_compared": self._n_signals[i],
            "n_differing": found.n,
            "kinds": {kind.name.lower(): n for kind, n in found.kinds.items()},
            "reasons": {reason.name.lower(): n for reason, n in found.reasons.items()},
            "first_at": self._moment(i, found).isoformat(),
            "first_reason": found.first_reason.name.lower(),
        }

    def _moment(self, i: int, found: Differences) -> datetime:
        return datetime.fromtimestamp(int(self._times[i, found.first_column]) / 1e6, UTC)

    def _signals(self, i: int) -> Check:
        n, found, e_value = self._n_signals[i], self._differences.get(i), self._signals_e[i]
        if not n:
            missing = "Insufficient data: no live signal to compare yet."
            return replace(_check("signals", *_NOT_RUN, "percent", None, ""), text=missing)
        if found is None:
            text = f"All {n:,} signals equal those of the re-run"
            return _check("signals", CheckState.PASS, 1.0, 1.0, math.nan, "percent", e_value, text)
        state = CheckState.FAIL if e_value >= status.DEGRADED_E else CheckState.WARN
        text = _differing_text(found, n, self._moment(i, found))
        share = 1.0 - found.n / n
        return _check("signals", state, share, 1.0, math.nan, "percent", e_value, text)

    def _drift(self, i: int) -> Check:
        value = self._live["drift"][i]
        state = CheckState.NOT_RUN
        if not math.isnan(value):
            state = CheckState.WARN if value > LIMIT else CheckState.PASS
        text = f"Lower CUSUM of returns {_number(value, 1)}, limit {LIMIT}; shown, not counted"
        return _check("drift", state, value, math.nan, LIMIT, "ratio", None, text)

    def _freshness(self, i: int) -> Check:
        value = self._days[i]
        state = CheckState.NOT_RUN
        if not math.isnan(value):
            state = CheckState.STALE if self._is_stale[i] else CheckState.PASS
        text = f"The newest bar closed {_number(value, 1)} days ago"
        return _check("freshness", state, value, math.nan, math.nan, "days", None, text)


def _live_columns(live: LiveObservations, found: Assessment) -> dict[str, list[float]]:
    returns, trips = live.returns, live.trips
    n = np.maximum(found.n_bars, 1)
    mean = np.where(found.n_bars > 0, np.nansum(returns, axis=1) / n, np.nan)
    square = np.nansum((returns - mean[:, None]) ** 2, axis=1)
    closed = trips.exited >= 0
    wins = np.bincount(trips.row[closed], weights=trips.returns[closed] > 0, minlength=len(n))
    entries = np.bincount(trips.row, minlength=len(n))
    with np.errstate(divide="ignore", invalid="ignore"):
        standardised = (returns - live.promise["mean"][:, None]) / live.promise["deviation"][
            :, None
        ]
        lower = _newest(cusum(standardised, slack=SLACK)[1])
        columns = {
            "mean": mean,
            "deviation": np.where(found.n_bars > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan),
            "win_rate": wins / found.n_trips,
            "trips_per_bar": np.where(found.n_bars > 0, entries / n, np.nan),
            "volatility_share": _newest(found.volatility) / found.volatility_limit,
        }
    is_started = found.n_bars > 0
    return {
        name: column.tolist()
        for name, column in {
            **columns,
            "drift": np.where(is_started & (live.promise["deviation"] > 0), lower, np.nan),
            "drawdown": np.where(is_started, _newest(found.paths.drawdown), np.nan),
            "whole_drawdown": _newest(found.paths.whole_drawdown),
            "departure": _newest(found.departure),
            "band": found.band,
            "percentile": found.percentile,
            "match_rate": _newest(found.match_rate),
            "correlation": _newest(found.correlation),
            "gap": _newest(found.gaps.mean),
            "gap_low": _newest(found.gaps.lower),
            "gap_high": _newest(found.gaps.upper),
            "gap_bound": found.gap_tolerance,
            "signals_close": _newest(found.signals.is_close),
        }.items()
    }


def _newest(matrix: FloatArray | IntArray | BoolArray) -> FloatArray:
    return np.asarray(
        matrix[:, -1] if matrix.shape[1] else np.full(len(matrix), np.nan), np.float64
    )


def _check(
    key: str,
    state: CheckState,
    value: float,
    low: float,
    high: float,
    unit: str,
    e_value: float | None,
    text: str,
) -> Check:
    evidence = "" if e_value is None else f" (E = {_e(e_value)})"
    return Check(
        key=key,
        label=LABELS[key],
        state=state,
        value=_known(value),
        low=_known(low),
        high=_known(high),
        unit=unit,
        e_value=e_value,
        text="Nothing to go by yet." if state is CheckState.NOT_RUN else f"{text}{evidence}.",
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _differing_text(found: Differences, n_compared: int, first: datetime) -> str:
    kinds = ", ".join(f"{n:,} {KIND_WORDS[kind].lower()}" for kind, n in found.kinds.items())
    verb = "differs" if found.n == 1 else "differ"
    return (
        f"{found.n:,} of {n_compared:,} signals {verb} from the re-run "
        f"({_percent(found.n / n_compared, 1)}), none expected: {kinds}; the first at the close of "
        f"{first:%-d %b %Y %H:%M} UTC ({REASON_WORDS[found.first_reason].lower()})"
    )


def _text(checks: list[Check], key: str) -> str:
    return next(one.text for one in checks if one.key == key)


def evidence_text(value: float | None) -> str:
    """Return evidence as people read it: two digits below 10, powers of ten from a million.

    Parameters
    ----------
    value : float or None
        E, >= 0.

    Returns
    -------
    str
        A dash for None.
    """
    return "–" if value is None else _e(value)


def _e(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def _number(value: float, places: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{places}f}".replace("-", "−")


def _percent(value: float, places: int) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.{places}f}".replace("-", "−") + " %"
