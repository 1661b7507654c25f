"""P11: how alike the strategies of a portfolio are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core import exports, live
from alphastrat.core.access import Role
from alphastrat.core.charts import figure_response
from alphastrat.core.formatting import ratio
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from portfolio import allocation_charts
from portfolio.correlation_picture import WORDS as BAND_WORDS
from portfolio.correlation_picture import matrix_png
from portfolio.models import Portfolio
from portfolio.quant.allocation_problem import LABELS
from portfolio.quant.correlation import MIN_COMMON, Band
from portfolio.services import correlation as correlations
from portfolio.services.correlation import REGIMES, WINDOWS, CorrelationStudy
from portfolio.views.chosen import chosen_portfolio, portfolio_choices
from strategies.models import Strategy

N_WORDS = 5
N_PAIRS = 30
# A larger matrix is neither read nor quick; the export has every pair.
MAX_SHOWN = 30
EXPORTS = tuple(
    Column(name, name)
    for name in ("first", "second", "correlation", "band", "n_common", "first_id", "second_id")
)
CANDIDATES = tuple(
    Column(name, name)
    for name in (
        "strategy_id",
        "name",
        "source",
        "found.with_portfolio",
        "found.mean_after",
        "found.change",
        "found.n_common",
    )
)
WINDOW_LABELS = {"60": "60 days", "120": "120 days", "250": "250 days", "all": "All days"}
CHARTS = {"rolling": allocation_charts.rolling, "scatter": allocation_charts.scatter}


@login_required
@require_GET
def correlation(request: PageRequest) -> HttpResponseBase:
    """Show the matrix in an order that puts what is alike together, and who could join."""
    portfolio = chosen_portfolio(request)
    if portfolio is None:
        return render_page(
            request, "portfolio/allocation_empty.html", "portfolio/_allocation_empty.html", {}
        )
    heads = live.heads(f"portfolio:{portfolio.pk}")
    window = _one_of(request.GET.get("window"), WINDOWS, "250")
    regime = _one_of(request.GET.get("regime"), REGIMES, "all")
    at = now()
    gathered = correlations.gather(portfolio, at=at)
    found = correlations.study(gathered, window=window, regime=regime)
    if form := request.GET.get("format"):
        if request.GET.get("table") == "candidates":
            outside = correlations.candidates(gathered)
            return exports.table_response(outside, CANDIDATES, name="candidates", form=form)
        if form == "png":
            return _picture(portfolio, found, words=f"{WINDOW_LABELS[window]}, {REGIMES[regime]}")
        return exports.table_response(_every_pair(found), EXPORTS, name="correlation", form=form)
    shown, warned = _shown(found), found.warned
    context = {
        "portfolio": portfolio,
        "portfolios": portfolio_choices(request),
        "heads": heads,
        "topic": f"portfolio:{portfolio.pk}",
        "study": found,
        "at": at,
        "window": window,
        "regime": regime,
        "windows": WINDOW_LABELS.items(),
        "regimes": REGIMES.items(),
        "regime_label": REGIMES[regime],
        "headings": [found.names[i] for i in shown],
        "rows": _matrix(found, shown),
        "is_cut": len(shown) < len(found.names),
        "pairs": [_pair(found, *one) for one in found.pairs[:N_PAIRS]],
        "warned": [_pair(found, *one) for one in warned[:N_WORDS]],
        "n_warned": len(warned),
        "candidates": correlations.candidates(gathered),
        "optimised": _optimised(portfolio),
        "forms": exports.FORMS,
        "least": MIN_COMMON,
        "can_write": request.user.has_role(Role.TRADER),
    }
    return render_page(
        request, "portfolio/correlation.html", "portfolio/_correlation.html", context
    )


@login_required
@require_GET
def correlation_pair(request: PageRequest, first: UUID, second: UUID) -> HttpResponseBase:
    """Show two strategies against each other; `?chart=` answers a figure."""
    visible = Strategy.objects.for_user(request.user)
    pair = correlations.study_pair(_named(visible, first), _named(visible, second), at=now())
    charts = {name: draw(pair) for name, draw in CHARTS.items()}
    if name := request.GET.get("chart"):
        if name not in charts or charts[name].is_empty:
            raise Http404
        chart = charts[name]
        if form := request.GET.get("format"):
            rows = [dict(zip(chart.columns, row, strict=True)) for row in chart.rows()]
            columns = [Column(key, key) for key in chart.columns]
            return exports.table_response(rows, columns, name=name, form=form)
        return figure_response(chart.draw())
    context = {"pair": pair, "charts": list(charts.values()), "least": MIN_COMMON}
    return render_page(
        request, "portfolio/correlation_pair.html", "portfolio/_correlation_pair.html", context
    )


def _optimised(portfolio: Portfolio) -> dict[str, Any] | None:
    """Return what the newest optimisation did to the mean correlation."""
    newest = (
        portfolio.optimisations.filter(status="succeeded")
        .values("requested_at", "method", "result__correlation")
        .first()
    )
    if newest is None or not newest["result__correlation"]:
        return None
    method = LABELS.get(newest["method"], newest["method"])
    return newest["result__correlation"] | {"method": method, "at": newest["requested_at"]}


def _one_of(value: str | None, allowed: Any, default: str) -> str:
    return value if value is not None and value in allowed else default


def _named(visible: Any, key: UUID) -> tuple[UUID, str]:
    found = get_object_or_404(visible.only("pk", "name"), pk=key)
    return found.pk, found.name


def _shown(found: CorrelationStudy) -> list[int]:
    """Return who is in the matrix, neighbours alike: those with most capital where many are."""
    order = [int(i) for i in found.order]
    if len(order) <= MAX_SHOWN:
        return order
    largest = set(np.argsort(-found.weights, kind="stable")[:MAX_SHOWN].tolist())
    return [i for i in order if i in largest]


def _matrix(found: CorrelationStudy, shown: list[int]) -> list[dict[str, Any]]:
    names = {i: escape(found.names[i]) for i in shown}
    return [
        {
            "name": found.names[i],
            "source": found.sources[i],
            "cells": SafeString("".join(_cell(found, i, j, names) for j in shown)),
        }
        for i in shown
    ]


def _cell(found: CorrelationStudy, i: int, j: int, names: dict[int, SafeString]) -> str:
    """Return one of the matrix's many cells, without a template: names are escaped before."""
    if i == j:
        return '<td class="muted">–</td>'
    value, band = float(found.matrix[i, j]), found.band_of(i, j)
    is_known = band is not Band.INSUFFICIENT
    text = ratio(value).text if is_known else "insufficient"
    word = f'<span class="band-word">{BAND_WORDS[band]}</span>' if is_known else ""
    label = f"{names[i]} and {names[j]}: {text}, {int(found.n_common[i, j])} common days"
    url = f"{found.strategy_ids[i]}/{found.strategy_ids[j]}/"
    return (
        f'<td data-band="{band.value}"><a href="{url}" aria-label="{label}">{text}</a>{word}</td>'
    )


def _picture(portfolio: Portfolio, found: CorrelationStudy, *, words: str) -> HttpResponse:
    """Answer the matrix of the page as a picture, to be saved."""
    note = f"{words}; high above 0.70, moderate from 0.30, low below. Neighbours are alike."
    title = f"Correlation of {portfolio.name}"
    picture = matrix_png(found, _shown(found), title=title, note=note)
    response = HttpResponse(picture, content_type="image/png")
    response["Content-Disposition"] = 'attachment; filename="correlation.png"'
    return response


def _every_pair(found: CorrelationStudy) -> list[dict[str, Any]]:
    """Return the pairs, most alike first, and then those with too few common days."""
    first, second = np.nonzero(np.triu(np.isnan(found.matrix), 1))
    unknown = [(int(i), int(j), None) for i, j in zip(first, second, strict=True)]
    return [_pair(found, *one) for one in (*found.pairs, *unknown)]


def _pair(found: CorrelationStudy, i: int, j: int, value: float | None) -> dict[str, Any]:
    return {
        "first": found.names[i],
        "second": found.names[j],
        "first_id": found.strategy_ids[i],
        "second_id": found.strategy_ids[j],
        "correlation": value,
        "band": found.band_of(i, j).value,
        "word": BAND_WORDS[found.band_of(i, j)],
        "n_common": int(found.n_common[i, j]),
    }
