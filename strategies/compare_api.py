"""JSON API of comparisons."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Field, Query, Router, Schema

from alphastrat.core.jsonable import jsonable
from strategies.models import BacktestRun, Strategy
from strategies.services.comparison import Asked, Comparison, load

router = Router(tags=["backtests"])


class CompareIn(Schema):
    """Two to eight results; without dates the whole period that all of them cover."""

    r: list[UUID] = Field(default_factory=list, description="Backtests.")
    s: list[UUID] = Field(
        default_factory=list, description="Strategies, each by its newest backtest."
    )
    start: date | None = None
    end: date | None = None


class ComparedOut(Schema):
    """A result of the comparison and the letter it is named by."""

    letter: str
    label: str
    backtest_id: UUID
    strategy_id: UUID | None
    engine: str


class MetricOut(Schema):
    """One metric of every result in the order of `results`; `best` holds letters."""

    key: str
    label: str
    values: list[float | None]
    best: list[str]


class SettingOut(Schema):
    """One setting of every result in the order of `results`."""

    label: str
    values: list[str]
    differs: bool


class ComparisonOut(Schema):
    """Results over the days `start` to `end`; null where they share none."""

    start: date | None
    end: date | None
    common_start: date | None
    common_end: date | None
    results: list[ComparedOut]
    left_out: list[str]
    metrics: list[MetricOut]
    settings: list[SettingOut]
    correlations: list[list[float | None]] | None
    n_common: list[list[int]] | None
    equity: list[dict[str, Any]]


@router.get("", response=ComparisonOut, url_name="compare")
def compare(request: HttpRequest, asked: Query[CompareIn]) -> dict[str, Any]:
    """Put two to eight results side by side over the period that all of them cover."""
    try:
        found = load(
            request.user, Asked(tuple(asked.r), tuple(asked.s), start=asked.start, end=asked.end)
        )
    except (BacktestRun.DoesNotExist, Strategy.DoesNotExist):
        raise Http404 from None
    return _document(found)


def _document(found: Comparison) -> dict[str, Any]:
    correlations = found.correlations
    document: dict[str, Any] = jsonable(
        {
            **{
                name: None if (at := getattr(found, name)) is None else at.date()
                for name in ("start", "end", "common_start", "common_end")
            },
            "left_out": found.left_out,
            "results": [
                {
                    "letter": one.letter,
                    "label": one.label,
                    "backtest_id": one.run.pk,
                    "strategy_id": one.strategy.pk if one.strategy else None,
                    "engine": one.run.engine,
                }
                for one in found.subjects
            ],
            "metrics": [
                {
                    "key": row.key,
                    "label": row.label,
                    "values": row.values,
                    "best": [found.subjects[i].letter for i in row.best],
                }
                for row in found.metrics
            ],
            "settings": [
                {"label": row.label, "values": row.values, "differs": row.differs}
                for row in found.differences
            ],
            "correlations": correlations[0].tolist() if correlations else None,
            "n_common": correlations[1].tolist() if correlations else None,
            "equity": [_curve(found, one) for one in found.subjects] if found.has_period else [],
        }
    )
    return document


def _curve(found: Comparison, one: Any) -> dict[str, Any]:
    """Return the account as if it had begun the period with 100, and its drawdown."""
    times = one.track.times[found.rows(one)]
    return {
        "letter": one.letter,
        "time": [time.isoformat() for time in times],
        "value": found.growth(one),
        "drawdown": found.drawdown(one),
    }
