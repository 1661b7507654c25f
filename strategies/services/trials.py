"""How often a hypothesis has been looked at: the honest number of trials."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils.timezone import now

from alphastrat.core.jsonable import jsonable
from strategies.models import BacktestRun, Trial
from strategies.quant.wanted_sets import EXIT_NAMES

# A sweep counts ten thousand looks: one statement, no object for each.
_RECORD = """
    INSERT INTO strategies_trial (
        owner_id, hypothesis, source, start_at, end_at, created_at, configuration, sharpe_per_bar
    )
    SELECT %s, %s, %s, %s, %s, %s, look.* FROM unnest(%s::text[], %s::float8[]) AS look
    ON CONFLICT DO NOTHING
"""

_COUNT = """
    SELECT count(*), var_samp(
        sharpe_per_bar * sqrt(extract(epoch FROM end_at - start_at) / %s::float8)
    )
    FROM strategies_trial WHERE owner_id = %s AND hypothesis = %s
"""

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class TrialCount:
    """The looks at one hypothesis, and how much their Sharpe ratios differ."""

    n_trials: int
    sharpe_variance_per_bar: float


def hypothesis_key(plugin: str, symbols: Iterable[str], timeframe: str) -> str:
    """Return the fingerprint of plug-in, universe and timeframe."""
    return _digest([plugin, sorted(symbols), timeframe])


def configuration_key(**settings: Any) -> str:
    """Return the fingerprint of everything that makes one trial differ from another."""
    return _digest(settings)


def set_keys(subject: Any, sets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the `configuration_key` of each set of a search; all sets vary the same names.

    The subject has parameters, exit rules and sizing.
    """
    exits, parameters = jsonable(subject.exit_rules), jsonable(subject.parameters)
    document = {"exits": exits, "parameters": parameters, "sizing": jsonable(subject.sizing)}
    names = list(sets[0]) if sets else []
    place = {name: "exits" if name in EXIT_NAMES else "parameters" for name in names}
    keys = []
    for own in sets:
        for name in names:
            document[place[name]][name] = jsonable(own[name])
        keys.append(_digest_plain(document))
    return keys


def record_trial(run: BacktestRun, *, sharpe_per_bar: float) -> None:
    """Count a finished run as a look at its hypothesis; the same look twice counts once."""
    record_trials(
        run,
        [
            (
                configuration_key(
                    parameters=run.parameters, exits=run.exit_rules, sizing=run.sizing
                ),
                sharpe_per_bar,
            )
        ],
        source=Trial.Source.BACKTEST,
        span=(run.start_at, run.end_at),
    )


def record_trials(
    subject: Any,
    looks: Iterable[tuple[str, float]],
    *,
    source: str,
    span: tuple[datetime, datetime],
) -> None:
    """Count looks, as pairs of configuration and Sharpe ratio per bar, at a subject's hypothesis.

    The subject has an owner, a plug-in, symbols and a timeframe.
    """
    counted = list(looks)
    if not counted:
        return
    hypothesis = hypothesis_key(subject.plugin, subject.symbols, subject.timeframe)
    sharpes = [sharpe if math.isfinite(sharpe) else None for _, sharpe in counted]
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD,
            [
                *(subject.owner_id, hypothesis, source, *span, now()),
                [configuration for configuration, _ in counted],
                sharpes,
            ],
        )


def count_trials(subject: Any, *, span: timedelta | None = None) -> TrialCount:
    """Return how often the hypothesis of a run, sweep or walk-forward has been looked at.

    Trials over a longer or shorter time are put on the subject's, or on `span`: luck moves a Sharpe
    ratio by one over the root of the time it is taken over [1], so that one of a fold would
    otherwise count for far more than it is.

    References
    ----------
    .. [1] Lo (2002), "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4).
    """
    span = span or subject.end_at - subject.start_at
    hypothesis = hypothesis_key(subject.plugin, subject.symbols, subject.timeframe)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [span.total_seconds(), subject.owner_id, hypothesis])
        n_trials, variance = cursor.fetchone()
    return TrialCount(n_trials, float(variance or 0.0))


def looks_at(owner: Any, *, plugin: str, symbols: Iterable[str], timeframe: str) -> int:
    """Return how often a person has looked at a hypothesis."""
    key = hypothesis_key(plugin, symbols, timeframe)
    return Trial.objects.filter(owner=owner, hypothesis=key).count()


def _digest(value: Any) -> str:
    return _digest_plain(jsonable(value))


def _digest_plain(value: Any) -> str:
    return hashlib.sha256(_JSON.encode(value).encode()).hexdigest()
