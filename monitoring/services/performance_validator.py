"""The verdict on every live strategy: one pass over all of them, whoever asks and how often.

Evidence moves with closed bars and recorded fills only, so that a pass may run at any moment and
any number of times: what it writes depends on what is known, not on how often it was looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
from django.db import connection, transaction

from alphastrat.core import events, live
from alphastrat.quant.types import BoolArray, FloatArray, Timeframe
from monitoring.models import Verification, VerificationTransition
from monitoring.quant.checks import Check, Judgement
from monitoring.quant.degradation import Assessment, Terms, assess
from monitoring.quant.observations import LiveObservations
from monitoring.quant.status import Standing, advance
from monitoring.services.account_series import Memory
from monitoring.services.binary import moment_of
from monitoring.services.observations import Loaded, Standings, load_with_standings

# A daily bar may be late by a long weekend, an intraday one by a night.
PATIENCE = timedelta(days=4)
INTRADAY_PATIENCE = timedelta(days=1)
LONGEST_REASON = 400
# Verdicts that one piece of news names; a page that is told of more reads them all anyway.
LONGEST_NEWS = 50
# How often it is written of a verdict that does not move that it was looked at.
TOUCH = timedelta(minutes=1)

_ENSURE = """
    INSERT INTO monitoring_verification (strategy_id, account_id, created_at, updated_at, status,
        reason, coverage, n_bars, n_trades, clean_bars, evidence, metrics, false_alarms_per_year,
        tolerance, on_degraded)
    SELECT s.id, a.id, %(at)s, %(at)s, 'insufficient', '', 0, 0, 0, 0, '{}', '{}', 0.5, 0.1, 'none'
    FROM strategies s LEFT JOIN portfolio_account a ON a.strategy_id = s.id AND a.closed_at IS NULL
    WHERE (%(ids)s::uuid[] IS NULL AND a.id IS NOT NULL) OR s.id = ANY(%(ids)s::uuid[])
    ON CONFLICT (strategy_id) DO NOTHING
"""
# In order of the key, so that two passes never wait for each other in a circle.
_LOCK = """
    SELECT v.strategy_id FROM monitoring_verification v
    WHERE %(ids)s::uuid[] IS NULL OR v.strategy_id = ANY(%(ids)s::uuid[])
    ORDER BY v.strategy_id FOR UPDATE
"""
_WRITE = """
    UPDATE monitoring_verification v SET
        account_id = n.account_id, expectation_id = n.expectation_id, status = n.status,
        reason = n.reason, score = n.score, coverage = n.coverage, e_value = n.e_value,
        n_bars = n.n_bars, n_trades = n.n_trades, clean_bars = n.clean_bars,
        evidence = n.evidence, metrics = n.metrics, observed_to = n.observed_to,
        evaluated_at = %(at)s, updated_at = %(at)s,
        status_since = CASE WHEN v.status = n.status AND v.status_since IS NOT NULL
            THEN v.status_since ELSE %(at)s END
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS n (strategy_id uuid, account_id uuid,
        expectation_id uuid, status text, reason text, score float8, coverage float8,
        e_value float8, n_bars int, n_trades int, clean_bars int, evidence jsonb, metrics jsonb,
        observed_to timestamptz)
    WHERE v.strategy_id = n.strategy_id
"""
_TOUCH = """
    UPDATE monitoring_verification v SET evaluated_at = %(at)s
    FROM unnest(%(ids)s::uuid[], %(stale)s::boolean[]) AS n (strategy_id, is_stale)
    WHERE v.strategy_id = n.strategy_id AND n.is_stale =
        (v.evidence @? '$.checks[*] ? (@.key == "freshness" && @.state == "stale")')
    RETURNING v.strategy_id
"""


class Words:
    """Why a verdict is what it is: put into words when somebody asks, which is seldom."""

    def __init__(self, judged: Judgement, row: int, standing: Standing) -> None:
        self._judged, self._row, self._standing = judged, row, standing

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        return tuple(self._judged.checks(self._row))

    @cached_property
    def reason(self) -> str:
        words = self._judged.reason(self._row, list(self.checks), self._standing)
        return words[:LONGEST_REASON]

    @cached_property
    def signals(self) -> dict[str, Any]:
        return self._judged.signals(self._row)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one pass says about one strategy."""

    strategy_id: UUID
    owner_id: int
    name: str
    before: str
    status: str
    score: float | None
    coverage: float
    e_value: float
    action: str
    observed_to: datetime | None
    words: Words

    @property
    def reason(self) -> str:
        return self.words.reason

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.words.checks

    @property
    def signals(self) -> dict[str, Any]:
        return self.words.signals

    @property
    def has_changed(self) -> bool:
        """Whether the verdict is another than before; the first one is not a change."""
        return bool(self.before) and self.before != self.status


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """A pass: what was looked at, what it amounts to, and what changed."""

    observations: LiveObservations
    assessment: Assessment
    verifications: tuple[Verdict, ...]
    transitions: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """One strategy as its page shows it: nothing is written.

    Attributes
    ----------
    observations, standings, assessment
        Of this strategy alone, in row 0.
    kept : ndarray of bool, shape (n_bars,)
        Bars that the evidence counts.
    checks : tuple of Check
        As they are now.
    signals : dict
        How the live signals compare, as `Judgement.signals` says.
    """

    observations: LiveObservations
    standings: Standings
    assessment: Assessment
    kept: BoolArray
    checks: tuple[Check, ...]
    signals: dict[str, Any]

    @property
    def all_times(self) -> pd.DatetimeIndex:
        """Closes of all bars that were read."""
        return pd.DatetimeIndex(pd.to_datetime(self.observations.times[0], unit="us", utc=True))

    @property
    def times(self) -> pd.DatetimeIndex:
        """Closes of the bars that the evidence counts."""
        return self.all_times[self.kept]


def examine(strategy_id: UUID, *, at: datetime) -> Examined:
    """Return everything that the verdict on one strategy rests on, without judging it anew."""
    loaded = load_with_standings([strategy_id], at=at)
    found = assess(loaded.observations, terms_of(loaded.standings))
    judged = judgement(loaded.observations, loaded.standings, found)
    known = ~np.isnan(loaded.observations.returns[0])
    counted = np.arange(loaded.observations.shape[1]) >= loaded.standings.first[0]
    return Examined(
        observations=loaded.observations,
        standings=loaded.standings,
        assessment=found,
        kept=known & counted,
        checks=tuple(judged.checks(0)),
        signals=judged.signals(0),
    )


@transaction.atomic
def evaluate(
    strategy_ids: Sequence[UUID] | None, *, at: datetime, memory: Memory | None = None
) -> Evaluated:
    """Judge these strategies, or all with an open account, and store what has changed.

    A change of verdict is stored with the evidence that caused it and announced on commit. What
    `memory` holds is not read again.
    """
    scope = {"ids": None if strategy_ids is None else list(strategy_ids), "at": at}
    with connection.cursor() as cursor:
        cursor.execute(_ENSURE, scope)
        cursor.execute(_LOCK, scope)
    loaded = load_with_standings(strategy_ids, at=at, memory=memory)
    observations, standings = loaded.observations, loaded.standings
    found = assess(observations, terms_of(standings), others=_others(strategy_ids))
    verdicts, clean_bars = _verdicts(observations, standings, found)
    _write(loaded, found, verdicts, clean_bars, at=at)
    changed = tuple(one for one in verdicts if one.has_changed)
    _record(changed, observations, at=at)
    return Evaluated(observations, found, verdicts, changed)


def _others(strategy_ids: Sequence[UUID] | None) -> FloatArray:
    """Return the stored evidence of the live strategies that a pass does not look at."""
    if strategy_ids is None:
        return np.empty(0)
    rest = Verification.objects.filter(account__closed_at__isnull=True, account__isnull=False)
    known = rest.filter(e_value__isnull=False).exclude(strategy__in=list(strategy_ids))
    return np.array(list(known.values_list("e_value", flat=True)), np.float64)


def judgement(observations: LiveObservations, standings: Standings, found: Assessment) -> Judgement:
    """Return the checks of every strategy as they were when it was observed."""
    days, is_stale = _ages(observations)
    return Judgement(
        observations,
        found,
        hard_drawdown=standings.hard_drawdown,
        days_since_bar=days,
        is_stale=is_stale,
    )


def terms_of(standings: Standings) -> Terms:
    """Return how each strategy is judged."""
    return Terms(
        budget=standings.budget,
        tolerance=standings.tolerance,
        hard_drawdown=standings.hard_drawdown,
        first=standings.first,
        volatility_limits=standings.volatility_limits,
    )


def _verdicts(
    observations: LiveObservations, standings: Standings, found: Assessment
) -> tuple[tuple[Verdict, ...], list[int]]:
    before = np.array([_code(word) for word in standings.status], np.int64)
    codes, clean_bars = advance(
        before,
        standings.clean_bars,
        found.called_for,
        first_new=standings.first_new,
        may_recover=standings.may_recover,
    )
    judged = judgement(observations, standings, found)
    e_values, newest = judged.e_value, observations.newest.tolist()
    scores, coverage = found.score.tolist(), found.coverage.tolist()
    verdicts = []
    for i, code in enumerate(codes.tolist()):
        standing = Standing(code)
        verdicts.append(
            Verdict(
                strategy_id=observations.strategies[i],
                owner_id=observations.owners[i],
                name=observations.names[i],
                before=standings.status[i],
                status=standing.key,
                score=None if np.isnan(scores[i]) else scores[i],
                coverage=0.0 if np.isnan(coverage[i]) else coverage[i],
                e_value=e_values[i] if np.isfinite(e_values[i]) else 1.0,
                action=standings.actions[i],
                observed_to=moment_of(newest[i]),
                words=Words(judged, i, standing),
            )
        )
    return tuple(verdicts), clean_bars.tolist()


def _write(
    loaded: Loaded,
    found: Assessment,
    verdicts: Sequence[Verdict],
    clean_bars: list[int],
    *,
    at: datetime,
) -> None:
    standings, n_bars = loaded.standings, loaded.observations.shape[1]
    moved = [
        i
        for i, one in enumerate(verdicts)
        if standings.first_new[i] < n_bars or _has_moved(one, standings.stored[i], found, i)
    ]
    moved += _touch(loaded, set(range(len(verdicts))) - set(moved), at=at)
    if not moved:
        return
    metrics, n_live = _metrics(loaded.observations, found), found.n_bars.tolist()
    n_trips = found.n_trips.tolist()
    rows = [
        {
            "strategy_id": str(one.strategy_id),
            "account_id": _text(loaded.observations.accounts[i]),
            "expectation_id": _text(standings.expectations[i]),
            "status": one.status,
            "reason": one.reason,
            "score": one.score,
            "coverage": one.coverage,
            "e_value": one.e_value,
            "n_bars": n_live[i],
            "n_trades": n_trips[i],
            "clean_bars": clean_bars[i],
            "evidence": {
                "checks": [_document(check) for check in one.checks],
                "signals": one.signals,
            },
            "metrics": metrics[i],
            "observed_to": _text(one.observed_to),
        }
        for i in moved
        if (one := verdicts[i])
    ]
    # One document: arrays of documents would be escaped sign by sign.
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, {"rows": json.dumps(rows), "at": at})


def _has_moved(verdict: Verdict, stored: tuple[Any, ...], found: Assessment, i: int) -> bool:
    """Say whether a strategy without new bars has anything to be written."""
    n_trips, e_value, evaluated_at, followed_at = stored
    return (
        verdict.status != verdict.before
        or n_trips != int(found.n_trips[i])
        or e_value != verdict.e_value
        or evaluated_at is None
        or (followed_at is not None and followed_at > evaluated_at)
    )


def _touch(loaded: Loaded, unmoved: Iterable[int], *, at: datetime) -> list[int]:
    """Write that verdicts were looked at which do not move, once in a while.

    Return those whose newest bar has become stale since they were written, or is no more.
    """
    stored = loaded.standings.stored
    due = [i for i in unmoved if (seen_at := stored[i][2]) is not None and at - seen_at >= TOUCH]
    if not due:
        return []
    strategies, is_stale = loaded.observations.strategies, _ages(loaded.observations)[1]
    asked = {
        "at": at,
        "ids": [strategies[i] for i in due],
        "stale": is_stale[due].tolist(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_TOUCH, asked)
        touched = {row[0] for row in cursor.fetchall()}
    return [i for i in due if strategies[i] not in touched]


def _record(changed: Sequence[Verdict], observations: LiveObservations, *, at: datetime) -> None:
    if not changed:
        return
    VerificationTransition.objects.bulk_create(
        VerificationTransition(
            id=uuid4(),
            strategy_id=one.strategy_id,
            before=one.before,
            after=one.status,
            happened_at=at,
            observed_to=one.observed_to,
            reason=one.reason,
            e_value=one.e_value,
            evidence=[_document(check) for check in one.checks],
        )
        for one in changed
    )
    by_owner: dict[int, dict[UUID, str]] = {}
    for one in changed:
        by_owner.setdefault(one.owner_id, {})[one.strategy_id] = one.status
    for owner_id, verdicts in by_owner.items():
        announce(verdicts, owner_id=owner_id)
    events.send_on_commit(
        events.verification_changed, strategy_ids=[str(one.strategy_id) for one in changed]
    )


def announce(verdicts: Mapping[UUID, str], *, owner_id: int) -> None:
    """Tell open pages that verdicts are others: to read them afresh, and what they are."""
    live.publish_to(
        [f"strategy:{one}" for one in verdicts], "invalidate", {"fragment": "verification"}
    )
    live.publish(f"verification:u{owner_id}", "invalidate", {"fragment": "results"})
    named = {str(one): status for one, status in list(verdicts.items())[:LONGEST_NEWS]}
    live.publish(f"verification:u{owner_id}", "verification", {"verdicts": named})


def _metrics(observations: LiveObservations, found: Assessment) -> list[dict[str, float | None]]:
    columns = {
        "percentile": found.percentile,
        "departure": _last(found.departure),
        "drawdown": _last(found.paths.whole_drawdown),
        "match_rate": _last(found.match_rate),
        "correlation": _last(found.correlation),
        "gap": _last(found.gaps.mean),
        "total_return": np.expm1(_last(found.paths.growth)),
        "signal_divergence": found.signals.counted.share_differing(),
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        {
            name: value if math.isfinite(value) else None
            for name, value in zip(columns, row, strict=True)
        }
        for row in rows
    ]


def _document(check: Check) -> dict[str, Any]:
    return {
        "key": check.key,
        "label": check.label,
        "state": check.state.value,
        "value": check.value,
        "low": check.low,
        "high": check.high,
        "unit": check.unit,
        "e_value": check.e_value,
        "text": check.text,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _ages(observations: LiveObservations) -> tuple[FloatArray, BoolArray]:
    newest = observations.newest
    age = np.where(newest > 0, np.maximum(observations.present - newest, 0) / 86_400e6, np.nan)
    patience = [
        (INTRADAY_PATIENCE if Timeframe(name).is_intraday else PATIENCE)
        + (Timeframe(name).duration or timedelta(days=31))
        for name in observations.timeframes
    ]
    limit = np.array([one / timedelta(days=1) for one in patience])
    with np.errstate(invalid="ignore"):
        return age, age > limit


def _last(matrix: FloatArray) -> FloatArray:
    return matrix[:, -1] if matrix.shape[1] else np.full(len(matrix), np.nan)


def _code(word: str) -> int:
    return Standing[word.upper()] if word else Standing.INSUFFICIENT
