"""Indicators on the price chart: chosen by the reader, kept in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from django.http import HttpRequest, QueryDict

from alphastrat.core import charts
from alphastrat.core.charts import Panel, Trace
from alphastrat.core.errors import AlphaStratError, InvalidInput
from alphastrat.core.tables import query_url
from alphastrat.marketdata.chart_additions import N_OWN_PANELS, Drawn
from alphastrat.marketdata.models import Instrument
from strategies.quant.indicator_specs import Pane
from strategies.services.indicator_requests import (
    IndicatorRequest,
    format_requests,
    offered,
    parse_request,
)

MAX_PANES = 4
MAX_OVERLAYS = 4
# What people draw most; the rest of the catalogue follows by group.
USUAL = ("SMA", "EMA", "BBANDS", "RSI", "MACD", "ATR", "STOCH", "ADX", "OBV", "SAR")
# Where an indicator is conventionally called overbought and oversold.
LEVELS = {
    "RSI": (30, 70),
    "MFI": (20, 80),
    "STOCH": (20, 80),
    "WILLR": (-80, -20),
    "CCI": (-100, 100),
}
HISTOGRAMS = frozenset({"macdhist"})


@dataclass(frozen=True, slots=True)
class Choice:
    """The indicators in an address, and what was wrong with those that are left out."""

    requests: tuple[IndicatorRequest, ...]
    problems: tuple[str, ...]


def read_choice(query: QueryDict) -> Choice:
    """Read `?indicators=rsi:14,macd:12-26-9`; what cannot be drawn is left out, with the reason."""
    requests: list[IndicatorRequest] = []
    problems: list[str] = []
    for text in filter(None, query.get("indicators", "").split(",")):
        try:
            requests = with_request(requests, parse_request(text))
        except InvalidInput as error:
            advice = " ".join(error.fields.values())
            problems.append(f"{error} {advice}")
    return Choice(tuple(requests), tuple(problems))


def with_request(
    requests: Sequence[IndicatorRequest], new: IndicatorRequest
) -> list[IndicatorRequest]:
    """Add an indicator, once.

    Raises
    ------
    InvalidInput
        If there is no room for it.
    """
    if new in requests:
        return list(requests)
    alike = sum(one.spec.pane is new.spec.pane for one in requests)
    if alike >= (MAX_OVERLAYS if new.spec.pane is Pane.OVERLAY else MAX_PANES):
        place = "on the price" if new.spec.pane is Pane.OVERLAY else "below it"
        raise InvalidInput(
            f"{new.label} does not fit: the chart has {alike} indicators {place} already.",
            fields={"indicators": "Remove one of them first."},
        )
    return [*requests, new]


class IndicatorAddition:
    """Indicators on the page of an instrument."""

    template = "strategies/_indicator_picker.html"

    def controls(self, request: HttpRequest, instrument: Instrument) -> dict[str, Any]:
        choice = read_choice(request.GET)
        return {
            "symbol": instrument.symbol,
            "is_tall": any(one.spec.pane is Pane.SEPARATE for one in choice.requests),
            "chosen": [_chip(request, choice.requests, one) for one in choice.requests],
            "problems": choice.problems,
            "kept": [(key, value) for key, value in request.GET.items() if key != "format"],
            "groups": grouped(),
        }

    def draw(
        self, request: HttpRequest, instrument: Instrument, bars: pd.DataFrame, *, n_shown: int
    ) -> Drawn:
        drawn = Drawn()
        n_overlays = 0
        for one in read_choice(request.GET).requests:
            if n_shown == 0:
                break
            values = _shown(one, bars, n_shown)
            times = list(bars.index[-n_shown:])
            if one.spec.pane is Pane.OVERLAY:
                n_overlays += 1
                drawn.traces += _lines(one, times, values, roles=[f"series-{n_overlays}"] * 9)
            else:
                drawn.panels.append(Panel(one.label, "ratio", 1.2))
                number = N_OWN_PANELS + len(drawn.panels)
                roles = [f"series-{place}" for place in range(1, 7)]
                drawn.traces += _lines(one, times, values, roles=roles, panel=number)
                levels = LEVELS.get(one.spec.name, ())
                drawn.shapes += [charts.limit_line(level, panel=number) for level in levels]
        return drawn


def grouped() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the indicators offered as groups of name and label, the usual ones first."""
    known = {spec.name: spec for spec in offered()}
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in (*USUAL, *known):
        spec = known[name]
        group = "Most used" if len(groups.get("Most used", ())) < len(USUAL) else spec.group
        groups.setdefault(group, []).append((name, f"{name} · {spec.label}"))
    return list(groups.items())


def _chip(
    request: HttpRequest, requests: Sequence[IndicatorRequest], one: IndicatorRequest
) -> dict[str, str]:
    others = format_requests([other for other in requests if other != one])
    return {
        "label": one.label,
        "name": one.spec.label,
        "edit": query_url(request, edit=one.text) if one.spec.parameters else "",
        "remove": query_url(request, indicators=others or None),
    }


def _shown(request: IndicatorRequest, bars: pd.DataFrame, n_shown: int) -> dict[str, Any]:
    """Return the values of the last bars; none where the bars are too few."""
    try:
        values = request.compute(bars)
    except AlphaStratError:
        return {}
    return {name: array[-n_shown:] for name, array in values.items()}


def _lines(
    request: IndicatorRequest,
    times: list[Any],
    values: dict[str, Any],
    *,
    roles: list[str],
    panel: int = 1,
) -> list[Trace]:
    traces: list[Trace] = []
    for role, (output, array) in zip(roles, values.items(), strict=False):
        name = request.label if len(values) == 1 else f"{request.label} {output}"
        if output in HISTOGRAMS:
            trace = charts.columns(times, array, name=name, role="pnl", panel=panel)
        else:
            trace = charts.line(times, array, name=name, role=role, panel=panel)
        # A panel's title names a single line; the lines of an overlay share one colour.
        trace["showlegend"] = (not traces) if panel == 1 else len(values) > 1
        traces.append(trace)
    return traces
