"""Live trading held against its promise: every check of every strategy in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.multiple_testing import e_benjamini_hochberg
from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from monitoring.quant import budget as budgets
from monitoring.quant import detectors, status
from monitoring.quant.cone import BANDS, percentile
from monitoring.quant.evidence import Evidence, Observations, accumulate, average_evidence
from monitoring.quant.observations import LiveObservations
from monitoring.quant.paths import LivePaths, live_paths, running_correlation
from monitoring.quant.sequential import ConfidenceSequence, confidence_sequence
from monitoring.quant.signal_tally import SignalStanding, judge_signals
from monitoring.quant.status import Findings, Standing

_LOG_20, _LOG_100 = np.log(20.0), np.log(100.0)
_NOBODY = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """How each strategy is judged, as columns of shape (n_strategies,).

    Attributes
    ----------
    budget : ndarray
        False alarms per year that its owner accepts.
    tolerance : ndarray
        Half-width of "the same" as a fraction of the mean absolute return of a round trip.
    hard_drawdown : ndarray
        The owner's own limit, a fraction <= 0; NaN for none.
    first : ndarray of int
        Column from which evidence counts.
    volatility_limits : ndarray of shape (n_strategies, n_rates)
        As `budget.AlarmLevels` has them.
    """

    budget: FloatArray
    tolerance: FloatArray
    hard_drawdown: FloatArray
    first: IntArray
    volatility_limits: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """Everything a verdict rests on; matrices are of shape (n_strategies, n_bars).

    Attributes
    ----------
    evidence : tuple of Evidence
        By detector, in the order of `budget.DETECTORS`.
    log_e : ndarray
        Natural logarithm of the combined evidence.
    log_levels : ndarray of shape (n_strategies, n_detectors)
        Level of each detector for "watch"; NaN where it has nothing to observe.
    has_detector : ndarray of bool, shape (n_detectors, n_strategies)
        Which detectors can speak about a strategy.
    paths : LivePaths
        Growth, drawdown and place in the horizon.
    percentile : ndarray of shape (n_strategies,)
        Of the live path among those that the reference allows for.
    band : ndarray of shape (n_strategies,)
        Multiple of the spread that the band for "watch" is wide.
    departure : ndarray
        Distance of the path from the centre of the envelope in spreads.
    volatility : ndarray
        Variance CUSUM.
    volatility_limit : ndarray of shape (n_strategies,)
        Its limit.
    gaps : ConfidenceSequence
        Mean of live less shadow per matched fill, fractions.
    gap_tolerance : ndarray of shape (n_strategies,)
        What counts as the same, fraction.
    match_rate, correlation : ndarray
        Share of fills with a counterpart; of live and shadow returns.
    signals : SignalStanding
        Live signals against those of the shadow.
    score, coverage : ndarray of shape (n_strategies,)
        Health score and the share of its weight that has data.
    called_for : ndarray of int
        `Standing` that the evidence at each bar calls for.
    is_discovery : ndarray of bool, shape (n_strategies,)
        Whether the fleet-wide control of false discoveries rejects the strategy now.
    n_bars, n_trips : ndarray of int, shape (n_strategies,)
        Live bars and closed round trips, all of them.
    """

    evidence: tuple[Evidence, ...]
    log_e: FloatArray
    log_levels: FloatArray
    has_detector: BoolArray
    paths: LivePaths
    percentile: FloatArray
    band: FloatArray
    departure: FloatArray
    volatility: FloatArray
    volatility_limit: FloatArray
    gaps: ConfidenceSequence
    gap_tolerance: FloatArray
    match_rate: FloatArray
    correlation: FloatArray
    signals: SignalStanding
    score: FloatArray
    coverage: FloatArray
    called_for: IntArray
    is_discovery: BoolArray
    n_bars: IntArray
    n_trips: IntArray

    @property
    def e_value(self) -> FloatArray:
        """Combined evidence now, shape (n_strategies,)."""
        return np.asarray(np.exp(np.minimum(_last(self.log_e), 700.0)))


def assess(live: LiveObservations, terms: Terms, *, others: FloatArray = _NOBODY) -> Assessment:
    """Judge every strategy against its expectation, at every bar.

    Parameters
    ----------
    live : LiveObservations
        What is known.
    terms : Terms
        How each is judged.
    others : ndarray of shape (n_others,)
        Combined evidence of the strategies of the fleet that are not looked at now.

    Returns
    -------
    Assessment
        A function of closed bars and fills alone: looking twice gives the same twice.

    References
    ----------
    .. [1] Shin, Ramdas & Rinaldo (2024), "E-detectors", New England Journal of Statistics in Data
       Science 2(2).
    .. [2] Vovk & Wang (2021), "E-values: calibration, combination and applications", Annals of
       Statistics 49(3), for the average of dependent e-values.
    .. [3] Wang & Ramdas (2022), "False discovery rate control with e-values", Journal of the Royal
       Statistical Society B 84(3), for the fleet.
    """
    has_detector = _has_detector(live)
    evidence = _evidence(live, terms, has_detector)
    log_e = average_evidence(
        np.stack([part.log_e for part in evidence]), has_detector.astype(np.float64)
    )
    paths = live_paths(live.returns, horizon=_horizon(live), first=terms.first)
    volatility = detectors.variance_cusum(_standardised_returns(live, terms))
    volatility_limit = budgets.volatility_limit(terms.volatility_limits, terms.budget)
    gap_tolerance = terms.tolerance * live.promise["trip_size"]
    gaps = confidence_sequence(
        _since(live.trip_gaps, terms.first), shape=live.shape, scale=gap_tolerance
    )
    departure, band = _departure(live, terms, paths)
    match_rate = _match_rate(live, terms.first)
    correlation = running_correlation(live.returns, live.shadow)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_component = _component_evidence(
            live, evidence, has_detector, paths, volatility / volatility_limit[:, None]
        )
    score, coverage = status.health_score(by_component)
    log_levels = budgets.levels_of_budget(live.levels, terms.budget)
    assessment = Assessment(
        evidence=evidence,
        log_e=log_e,
        log_levels=np.where(has_detector.T, log_levels, np.nan),
        has_detector=has_detector,
        paths=paths,
        percentile=_percentile(live, paths),
        band=band,
        departure=departure,
        volatility=volatility,
        volatility_limit=volatility_limit,
        gaps=gaps,
        gap_tolerance=gap_tolerance,
        match_rate=match_rate,
        correlation=correlation,
        signals=judge_signals(live.signals, first=terms.first),
        score=_last(score),
        coverage=_last(coverage),
        called_for=np.empty(live.shape, np.int64),
        is_discovery=_discoveries(live, log_e, others),
        n_bars=live.n_bars,
        n_trips=np.bincount(live.trips.row[live.trips.exited >= 0], minlength=live.shape[0]),
    )
    assessment.called_for[:] = _called_for(live, terms, assessment, score)
    return assessment


def standing_path(called_for: IntArray) -> IntArray:
    """Return the verdict after every bar of strategies that nobody acknowledged anything of.

    Parameters
    ----------
    called_for : ndarray of int, shape (n_strategies, n_bars)
        As in `Assessment`.

    Returns
    -------
    ndarray of int, shape (n_strategies, n_bars)
        `Standing` values.
    """
    n_strategies, n_bars = called_for.shape
    result = np.empty_like(called_for)
    standing = np.full(n_strategies, Standing.INSUFFICIENT, np.int64)
    clean = np.zeros(n_strategies, np.int64)
    for t in range(n_bars):
        standing, clean = status.advance(
            standing,
            clean,
            called_for[:, t : t + 1],
            first_new=np.zeros(n_strategies, np.int64),
            may_recover=np.zeros(n_strategies, np.bool_),
        )
        result[:, t] = standing
    return result


def _last(matrix: FloatArray) -> FloatArray:
    return matrix[:, -1] if matrix.shape[1] else np.full(len(matrix), np.nan)


def _since(observations: Observations, first: IntArray) -> Observations:
    kept = observations.column >= first[observations.row]
    return Observations(observations.row[kept], observations.column[kept], observations.value[kept])


def _horizon(live: LiveObservations) -> IntArray:
    years = np.nan_to_num(live.promise["periods_per_year"], nan=252.0)
    by_year = np.maximum(np.round(years), 1.0).astype(np.int64)
    return np.where(live.envelopes.horizon > 0, live.envelopes.horizon, by_year)


def _has_detector(live: LiveObservations) -> BoolArray:
    promise = live.promise
    has_returns = (promise["n_bars"] >= status.LEAST_REFERENCE_BARS) & (promise["deviation"] > 0)
    has_trips = has_returns & (promise["n_trips"] >= status.LEAST_REFERENCE_TRIPS)
    has_rate = has_trips & (promise["trips_per_bar_low"] > 0)
    wins = has_trips & (promise["win_rate_limit"] > 0) & (promise["win_rate_limit"] < 1)
    paired = has_trips & live.has_shadow
    return np.stack([has_returns, wins, has_rate, paired, paired])


def _evidence(
    live: LiveObservations, terms: Terms, has_detector: BoolArray
) -> tuple[Evidence, ...]:
    promise, shape = live.promise, live.shape
    observed = (
        Observations.of_matrix(live.returns),
        _wins(live),
        _entries(live),
        live.fill_gaps_bps,
        live.matches,
    )
    returns, wins, entries, gaps, matches = observed
    zero = np.zeros(shape[0])
    log_factors = (
        detectors.catoni_log_factors(
            detectors.standardise(returns, centre=promise["mean_floor"], scale=promise["deviation"])
        ),
        detectors.bernoulli_log_factors(wins.value, promise["win_rate_limit"][wins.row]),
        detectors.poisson_log_factors(
            entries.value,
            promise["trips_per_bar_low"][entries.row],
            promise["trips_per_bar_high"][entries.row],
        ),
        detectors.catoni_log_factors(
            -detectors.standardise(gaps, centre=zero, scale=promise["fill_deviation_bps"])
        ),
        detectors.bernoulli_log_factors(matches.value, np.full(len(matches), budgets.MATCH_RATE)),
    )
    return tuple(
        accumulate(
            np.where(has_detector[k][part.row][:, None], factors, np.nan),
            part,
            shape=shape,
            first=terms.first,
        )
        for k, (part, factors) in enumerate(zip(observed, log_factors, strict=True))
    )


def _wins(live: LiveObservations) -> Observations:
    closed = live.trips.exited >= 0
    return Observations.sorted(
        live.trips.row[closed],
        live.trips.exited[closed],
        (live.trips.returns[closed] > 0).astype(np.float64),
    )


def _entries(live: LiveObservations) -> Observations:
    n_strategies, n_bars = live.shape
    known = live.trips.entered >= 0
    place = live.trips.row[known] * n_bars + live.trips.entered[known]
    counts = np.bincount(place, minlength=n_strategies * n_bars).astype(np.float64)
    matrix = np.where(np.isnan(live.returns), np.nan, counts.reshape(live.shape))
    return Observations.of_matrix(matrix)


def _standardised_returns(live: LiveObservations, terms: Terms) -> FloatArray:
    promise = live.promise
    counted = np.arange(live.shape[1]) >= terms.first[:, None]
    scaled = (live.returns - promise["mean"][:, None]) / promise["deviation"][:, None]
    return np.where(counted, scaled, np.nan)


def _departure(
    live: LiveObservations, terms: Terms, paths: LivePaths
) -> tuple[FloatArray, FloatArray]:
    envelopes = live.envelopes
    if envelopes.centre.shape[1] == 0:
        return np.full(live.shape, np.nan), np.full(live.shape[0], np.nan)
    at = np.clip(paths.position, 0, envelopes.centre.shape[1] - 1)
    centre = np.take_along_axis(envelopes.centre, at, axis=1)
    spread = np.take_along_axis(envelopes.spread, at, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        departure = np.where(
            (paths.position >= 0) & (spread > 0), (paths.growth - centre) / spread, np.nan
        )
    coverage = budgets.band_coverage(terms.budget)
    place = np.interp(coverage, BANDS, np.arange(len(BANDS)))
    below = np.minimum(place.astype(np.int64), len(BANDS) - 2)
    rows = np.arange(live.shape[0])
    low = envelopes.simultaneous[rows, below]
    high = envelopes.simultaneous[rows, below + 1]
    return departure, low + (place - below) * (high - low)


def _percentile(live: LiveObservations, paths: LivePaths) -> FloatArray:
    if not live.shape[1] or not live.envelopes.centre.shape[1]:
        return np.full(live.shape[0], np.nan)
    growth = np.where(paths.position[:, -1] >= 0, paths.growth[:, -1], np.nan)
    return percentile(growth, paths.position[:, -1], live.envelopes.quantiles)


def _match_rate(live: LiveObservations, first: IntArray) -> FloatArray:
    matches = _since(live.matches, first)
    size = live.shape[0] * live.shape[1]
    place = matches.row * live.shape[1] + matches.column
    hits = np.bincount(place, weights=matches.value, minlength=size).reshape(live.shape)
    counts = np.bincount(place, minlength=size).reshape(live.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.cumsum(hits, axis=1) / np.cumsum(counts, axis=1))


def _component_evidence(
    live: LiveObservations,
    evidence: tuple[Evidence, ...],
    has_detector: BoolArray,
    paths: LivePaths,
    volatility_share: FloatArray,
) -> dict[str, FloatArray]:
    """Return log evidence by component of the score, or what stands in its place.

    A drawdown that a share p of healthy years exceeds counts as 1/p; the variance CUSUM at its
    limit counts as 20. Neither is an e-value, and neither is used as one.
    """
    promise = live.promise
    seen = [np.where(part.n_observations > 0, part.log_e, np.nan) for part in evidence]
    paired = np.where(
        has_detector[budgets.MATCHING][:, None],
        np.fmax(seen[budgets.SLIPPAGE], seen[budgets.MATCHING]),
        np.nan,
    )
    bounds = [np.zeros(live.shape[0]), *(-promise[f"drawdown_{q}"] for q in (50, 95, 99))]
    has_path = (paths.position >= 0) & (promise["drawdown_50"] < 0)[:, None]
    fallen = np.where(has_path, _stepwise(-paths.drawdown, bounds), np.nan)
    turbulent = np.where(has_path, np.minimum(volatility_share * _LOG_20, _LOG_100), np.nan)
    return {
        "execution": paired,
        "return": seen[budgets.RETURN],
        "drawdown": fallen,
        "win_rate": seen[budgets.WIN_RATE],
        "frequency": seen[budgets.FREQUENCY],
        "volatility": turbulent,
    }


def _stepwise(depth: FloatArray, bounds: list[FloatArray]) -> FloatArray:
    heights = (0.0, np.log(2.0), _LOG_20, _LOG_100)
    result = np.zeros(depth.shape)
    for k in range(3):
        low, high = bounds[k][:, None], bounds[k + 1][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip((depth - low) / (high - low), 0.0, 1.0)
        result = np.where(depth > low, heights[k] + share * (heights[k + 1] - heights[k]), result)
    return result


def _discoveries(live: LiveObservations, log_e: FloatArray, others: FloatArray) -> BoolArray:
    """Return what e-BH rejects in the whole fleet; a small fleet counts as one of 20.

    Counting strategies that are not there only makes the rule stricter, so that one strategy
    alone is not called failed by evidence that would not even make it degraded.
    """
    judged = (live.n_bars > 0) & (live.promise["n_bars"] > 0)
    result = np.zeros(live.shape[0], np.bool_)
    if judged.any():
        own = np.exp(np.minimum(_last(log_e)[judged], 700.0))
        n_absent = max(status.LEAST_FLEET - len(own) - len(others), 0)
        fleet = np.concatenate([own, others, np.ones(n_absent)])
        result[judged] = e_benjamini_hochberg(fleet, rate=status.DISCOVERY_RATE)[: len(own)]
    return result


def _called_for(
    live: LiveObservations, terms: Terms, found: Assessment, score: FloatArray
) -> IntArray:
    promise, paths = live.promise, found.paths
    log_r = np.stack([part.log_r for part in found.evidence])
    over = log_r - found.log_levels.T[:, :, None]
    is_discovery = np.zeros(live.shape, np.bool_)
    if live.shape[1]:
        is_discovery[:, -1] = found.is_discovery
    with np.errstate(invalid="ignore"):
        is_degraded = (
            (found.log_e >= np.log(status.DEGRADED_E))
            | (paths.drawdown < promise["drawdown_95"][:, None])
            | (over >= np.log(budgets.DEGRADED_OVER_WATCH)).any(axis=0)
        )
        is_failed = (
            (found.log_e >= np.log(status.FAILED_E))
            | (paths.drawdown < promise["drawdown_99"][:, None])
            | is_discovery
        )
        is_watched = (
            (over >= 0.0).any(axis=0)
            | (np.abs(found.departure) > found.band[:, None])
            | (found.volatility >= found.volatility_limit[:, None])
            | (score < status.WATCH_SCORE)
            | found.signals.is_flagged
        )
        is_verified = (
            (found.gaps.lower > -found.gap_tolerance[:, None])
            & (found.gaps.upper < found.gap_tolerance[:, None])
            & (found.match_rate >= status.LEAST_MATCH_RATE)
            & (found.correlation >= status.LEAST_CORRELATION)
            & found.signals.is_close
        )
        is_beyond_limit = paths.whole_drawdown < terms.hard_drawdown[:, None]
    findings = Findings(_is_sufficient(live), is_failed, is_degraded, is_watched, is_verified)
    return status.decide(findings, is_beyond_limit=is_beyond_limit)


def _is_sufficient(live: LiveObservations) -> BoolArray:
    n_strategies, n_bars = live.shape
    bars = np.cumsum(~np.isnan(live.returns), axis=1)
    closed = live.trips.exited >= 0
    place = live.trips.row[closed] * n_bars + live.trips.exited[closed]
    trips = np.bincount(place, minlength=n_strategies * n_bars).reshape(live.shape)
    enough = (bars >= status.LEAST_BARS) | (np.cumsum(trips, axis=1) >= status.LEAST_TRIPS)
    valid = (live.promise["n_bars"] >= status.LEAST_REFERENCE_BARS) & (
        live.promise["n_trips"] >= status.LEAST_REFERENCE_TRIPS
    )
    return enough & valid[:, None]
