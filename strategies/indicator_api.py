"""JSON API of technical indicators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Field, Query, Router, Schema

from alphastrat.core.errors import InvalidInput
from alphastrat.core.etags import not_modified
from alphastrat.core.http import ApiRequest
from alphastrat.core.jsonable import jsonable
from alphastrat.core.schemas import Moment
from alphastrat.marketdata.models import Adjustment, Instrument
from alphastrat.quant.types import Timeframe
from strategies.services.indicator_requests import (
    IndicatorRequest,
    indicator_request,
    offered,
)
from strategies.services.technical_indicators import indicator_history, newest_values

router = Router(tags=["indicators"])


class IndicatorParameterOut(Schema):
    """One parameter and its range, both ends included."""

    name: str
    label: str
    help: str
    default: float
    low: float
    high: float
    is_integer: bool


class IndicatorOut(Schema):
    """What is known about an indicator."""

    type: str
    label: str
    group: str
    parameters: list[IndicatorParameterOut]
    inputs: list[str] = Field(..., description="Columns of the bars that it reads.")
    outputs: list[str]
    n_undefined: int = Field(..., description="Leading bars without a value, by default.")
    warmup_bars: int | None = Field(
        ..., description="Bars before the start of history is forgotten; null if it never is."
    )
    pane: str = Field(..., description="`overlay` on the price, or `separate`.")


class IndicatorQuery(Schema):
    """Which bars; the indicator's own parameters are given beside these, by name."""

    timeframe: Timeframe = Timeframe.DAY_1
    adjustment: Adjustment = Adjustment.SPLIT
    start: Moment | None = Field(None, description="First close, inclusive.")
    end: Moment | None = Field(None, description="Last close, inclusive.")
    limit: int = Field(1_000, ge=1, le=50_000, description="The newest this many.")


class NewestQuery(Schema):
    """Which bars; the indicator's own parameters are given beside these, by name."""

    timeframe: Timeframe = Timeframe.DAY_1
    adjustment: Adjustment = Adjustment.SPLIT


class IndicatorValuesOut(Schema):
    """Values as columns, oldest first; null where undefined."""

    symbol: str
    type: str
    parameters: dict[str, float]
    timeframe: Timeframe
    adjustment: Adjustment
    n_undefined: int
    warmup_bars: int | None
    closed_at: list[datetime]
    values: dict[str, list[float | None]]


class NewestOut(Schema):
    """What the indicator says at the newest bar of a symbol."""

    symbol: str
    time: datetime
    value: dict[str, float | None]


@router.get("/indicators", response=list[IndicatorOut], url_name="list_indicators")
def list_indicators(request: ApiRequest) -> HttpResponse | list[dict[str, Any]]:
    """List every indicator with its parameters, ranges, warm-up and pane."""
    return [_described(indicator_request(known.name)) for known in offered()]


@router.get("/indicators/{type}/newest", response=list[NewestOut], url_name="newest_indicators")
def list_newest(request: ApiRequest, type: str, wanted: Query[NewestQuery]) -> Any:  # noqa: A002
    """Return the value at the newest bar of every instrument, for a scan of the market.

    Parameters of the indicator stand in the address by name, such as `?timeperiod=14`.
    """
    asked = _asked(request, type, NewestQuery)
    return newest_values(asked, timeframe=wanted.timeframe, adjustment=wanted.adjustment)


@router.get(
    "/instruments/{symbol}/indicators/{type}",
    response=IndicatorValuesOut,
    url_name="get_indicator",
)
def get_indicator(
    request: ApiRequest,
    symbol: str,
    type: str,  # noqa: A002
    wanted: Query[IndicatorQuery],
) -> HttpResponse | dict[str, Any]:
    """Return an indicator on the bars of an instrument.

    Parameters of the indicator stand in the address by name, such as `?timeperiod=14`.
    """
    asked = _asked(request, type, IndicatorQuery)
    if wanted.start and wanted.end and wanted.end < wanted.start:
        raise InvalidInput(
            "The period ends before it starts.",
            fields={"end": f"Choose a time from {wanted.start:%Y-%m-%d} on."},
        )
    instrument = get_object_or_404(Instrument.objects.prefetch_related("series"), symbol=symbol)
    unchanged = not_modified(
        request, _state(instrument, wanted.adjustment), wanted.model_dump_json(), asked.text
    )
    if unchanged is not None:
        return unchanged
    history = indicator_history(
        instrument, asked, timeframe=wanted.timeframe, adjustment=wanted.adjustment
    )
    shown = np.arange(
        *history.times.slice_indexer(wanted.start, wanted.end).indices(len(history.times))
    )[-wanted.limit :]
    return {
        "symbol": symbol,
        "type": asked.spec.name,
        "parameters": asked.parameters,
        "timeframe": wanted.timeframe,
        "adjustment": wanted.adjustment,
        "n_undefined": asked.n_undefined,
        "warmup_bars": asked.warmup_bars,
        "closed_at": list(history.times[shown].to_pydatetime()),
        "values": jsonable({name: array[shown] for name, array in history.values.items()}),
    }


def _asked(request: ApiRequest, name: str, known: type[Schema]) -> IndicatorRequest:
    given = {key: value for key, value in request.GET.items() if key not in known.model_fields}
    return indicator_request(name, given)


def _state(instrument: Instrument, adjustment: str) -> list[Any]:
    """Return what changes when the bars do, as stored or as adjusted."""
    revisions = sorted((str(one.pk), one.revision) for one in instrument.series.all())
    stored = {one.adjustment for one in instrument.series.all()}
    if stored == {adjustment}:
        return [revisions]
    actions = instrument.corporate_actions.aggregate(Count("pk"), Max("updated_at"))
    return [revisions, *actions.values()]


def _described(asked: IndicatorRequest) -> dict[str, Any]:
    spec = asked.spec
    return {
        "type": spec.name,
        "label": spec.label,
        "group": spec.group,
        "parameters": spec.parameters,
        "inputs": spec.inputs,
        "outputs": spec.outputs,
        "n_undefined": asked.n_undefined,
        "warmup_bars": asked.warmup_bars,
        "pane": spec.pane.value,
    }
