"""The comparison page: two to eight runs or strategies side by side, its state in the address."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_GET

from alphastrat.core import exports
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import InvalidInput
from alphastrat.core.formatting import day, format_value
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, metric_url, query_url
from alphastrat.core.templatetags.format import directed
from alphastrat.quant.measures import MEASURES
from strategies.comparison_charts import CHARTS
from strategies.models import BacktestRun, Strategy
from strategies.services import comparison
from strategies.services.comparison import Asked, Comparison
from strategies.views import result_tables

N_CANDIDATES = 40
# What a first look needs; the rest is one click away.
HEADLINES = (
    "total_return",
    "annual_return",
    "annual_volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "max_drawdown",
    "n_round_trips",
    "win_rate",
    "profit_factor",
    "time_in_market",
)
FORMATS = {key: name for key, _, name in result_tables.OF_TRADES}


class PeriodForm(forms.Form):
    """The part of the common period to look at; empty is all of it."""

    start = forms.DateField(label="From", required=False, widget=forms.DateInput({"type": "date"}))
    end = forms.DateField(label="To", required=False, widget=forms.DateInput({"type": "date"}))


@login_required
@require_GET
def compare(request: PageRequest) -> HttpResponseBase:
    """Compare what the address names; without two names offer what there is to choose."""
    form = PeriodForm(request.GET)
    if not form.is_valid():
        return _choose(request, form, status=422)
    asked = _asked(request, form)
    if asked.n_subjects == 0 or "choose" in request.GET:
        return _choose(request, form, asked)
    try:
        found = _load(request, asked)
    except InvalidInput as error:
        return _choose(request, form, asked, error=error, status=422)
    if "format" in request.GET:
        return _export(found, request.GET["format"])
    return render_page(
        request,
        "strategies/compare.html",
        "strategies/_compare.html",
        _context(request, form, found),
    )


@login_required
@require_GET
def compare_chart(request: PageRequest, chart: str) -> HttpResponseBase:
    """Answer a figure of the comparison, or its numbers with `?format=csv`."""
    form = PeriodForm(request.GET)
    if chart not in CHARTS or not form.is_valid():
        raise Http404
    found = _load(request, _asked(request, form))
    if not found.is_charted:
        raise Http404
    built = CHARTS[chart](found)
    if wanted := request.GET.get("format"):
        rows = (dict(zip(built.columns, row, strict=True)) for row in built.rows())
        columns = [Column(name, name) for name in built.columns]
        return exports.table_response(rows, columns, name=f"compare-{chart}", form=wanted)
    return figure_response(built.draw())


def metric_table(found: Comparison) -> tuple[list[dict[str, Any]], list[Column]]:
    """Return one record per metric with a column per subject, and which is best."""
    records = [
        {"metric": row.key, "label": row.label}
        | {one.letter: value for one, value in zip(found.subjects, row.values, strict=True)}
        | {"best": " ".join(found.subjects[i].letter for i in row.best)}
        for row in found.metrics
    ]
    names = ["metric", "label", *(one.letter for one in found.subjects), "best"]
    return records, [Column(name, name) for name in names]


def _load(request: PageRequest, asked: Asked) -> Comparison:
    try:
        return comparison.load(request.user, asked)
    except (BacktestRun.DoesNotExist, Strategy.DoesNotExist):
        raise Http404 from None


def _asked(request: PageRequest, form: PeriodForm) -> Asked:
    return Asked(
        runs=_uuids(request, "r"),
        strategies=_uuids(request, "s"),
        start=form.cleaned_data["start"],
        end=form.cleaned_data["end"],
    )


def _uuids(request: PageRequest, name: str) -> tuple[UUID, ...]:
    try:
        return tuple(dict.fromkeys(UUID(text) for text in request.GET.getlist(name)))
    except ValueError:
        raise Http404 from None


def _choose(
    request: PageRequest,
    form: PeriodForm,
    asked: Asked | None = None,
    *,
    error: InvalidInput | None = None,
    status: int = 200,
) -> HttpResponse:
    asked = asked or Asked()
    strategies, runs = comparison.candidates(request.user, count=N_CANDIDATES)
    context = {
        "form": form,
        "error": error,
        "runs": runs,
        "strategies": strategies,
        "chosen_runs": set(asked.runs),
        "chosen_strategies": set(asked.strategies),
        "has_period": bool(form.data.get("start") or form.data.get("end")),
    }
    page = "strategies/compare_choose.html"
    return render_page(request, page, "strategies/_compare_choose.html", context, status=status)


def _context(request: PageRequest, form: PeriodForm, found: Comparison) -> dict[str, Any]:
    query = query_url(request, format=None)
    rows = [_matrix_row(row, found) for row in found.metrics]
    shown = sorted((row for row in rows if row["is_headline"]), key=lambda row: row["rank"])
    return {
        "form": form,
        "found": found,
        "subjects": [_subject(request, one) for one in found.subjects],
        "headlines": shown,
        "others": [row for row in rows if not row["is_headline"]],
        "charts": _charts(found, query),
        "too_many": len(found.subjects) > comparison.MOST_LINES,
        "most_lines": comparison.MOST_LINES,
        "differing": [row for row in found.differences if row.differs],
        "equal": [row for row in found.differences if not row.differs],
        "correlations": _correlations(found),
        "least_bars": comparison.MIN_COMMON_BARS,
        "matched": "day" if found.by_day else "bar close",
        "query": query,
        "choose_url": query_url(request, choose=1, format=None),
        "whole_url": query_url(request, start=None, end=None, format=None),
        "is_narrowed": bool(form.cleaned_data["start"] or form.cleaned_data["end"]),
        "kept": [(name, value) for name in ("r", "s") for value in request.GET.getlist(name)],
        "exports": [(name, query_url(request, format=name)) for name in ("csv", "parquet", "json")],
        "period": f"{day(found.start)} to {day(found.end)}" if found.has_period else "",
        "common": f"{day(found.common_start)} to {day(found.common_end)}"
        if found.has_period
        else "",
    }


def _subject(request: PageRequest, one: comparison.Subject) -> dict[str, Any]:
    query = request.GET.copy()
    query.setlist("r", [text for text in query.getlist("r") if UUID(text) != one.run.pk])
    if one.strategy is not None:
        kept = [text for text in query.getlist("s") if UUID(text) != one.strategy.pk]
        query.setlist("s", kept)
    return {
        "letter": one.letter,
        "label": one.label,
        "run": one.run,
        "strategy": one.strategy,
        "is_imported": one.run.engine == BacktestRun.Engine.IMPORTED,
        "without_url": f"?{query.urlencode()}",
    }


def _charts(found: Comparison, query: str) -> list[dict[str, Any]]:
    if not found.is_charted:
        return []
    drawn = []
    for key, build in CHARTS.items():
        src = reverse("strategies:compare-chart", args=[key]) + query
        drawn.append({"chart": build(found), "src": src, "csv": f"{src}&format=csv"})
    return drawn


def _matrix_row(row: comparison.MetricRow, found: Comparison) -> dict[str, Any]:
    if row.key in MEASURES:
        name = result_tables.FORMATS[MEASURES[row.key].unit]
        name = f"signed_{name}" if row.key in result_tables.SIGNED else name
    else:
        name = FORMATS[row.key]
    cells = [
        {
            "shown": directed(format_value(name, value)),
            "is_best": i in row.best,
            "letter": found.subjects[i].letter,
        }
        for i, value in enumerate(row.values)
    ]
    is_headline = row.key in HEADLINES
    return {
        "label": row.label,
        "url": metric_url(row.key) if row.key in MEASURES else "",
        "cells": cells,
        "is_headline": is_headline,
        "rank": HEADLINES.index(row.key) if is_headline else 0,
    }


def _correlations(found: Comparison) -> list[dict[str, Any]]:
    """Return the rows of the correlation table; a pair with too few common bars has none."""
    if found.correlations is None:
        return []
    values, n_common = found.correlations
    rows = []
    for i, one in enumerate(found.subjects):
        cells = [
            {
                "letter": other.letter,
                "text": format_value("ratio", values[i, j]).text,
                "is_known": bool(values[i, j] == values[i, j]),
                "is_short": bool(n_common[i, j] < comparison.MIN_COMMON_BARS),
                "n": int(n_common[i, j]),
                "level": _level(values[i, j]) if i != j else "",
            }
            for j, other in enumerate(found.subjects)
        ]
        rows.append({"letter": one.letter, "label": one.label, "cells": cells})
    return rows


def _level(value: float) -> str:
    if value != value:
        return ""
    steps = sum(abs(value) >= limit for limit in (0.2, 0.5, 0.8))
    return f"{'-' if value < 0 and steps else ''}{steps}"


def _export(found: Comparison, form: str) -> HttpResponseBase:
    records, columns = metric_table(found)
    return exports.table_response(records, columns, name="comparison", form=form)
