"""Strategies and backtests side by side; the address holds everything."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from alphastrat.core import exports
from alphastrat.core.charts import figure_response
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.formatting import format_value
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, metric_url, query_url
from strategies.charts import preview
from strategies.compare_charts import (
    COMPARED,
    MAX_LINES,
    drawdown_caption,
    growth_caption,
    previews_of,
)
from strategies.models import BacktestRun
from strategies.services.comparison import Comparison, compare
from strategies.views.result_tables import FORMATS, SIGNED

N_OFFERED = 60


class CompareForm(forms.Form):
    """Choose what to compare and the period."""

    r = forms.MultipleChoiceField(label="Backtests", required=False)
    start = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    end = forms.DateField(
        label="To", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )


@login_required
@require_GET
def comparison(request: PageRequest) -> HttpResponseBase:
    """Compare backtests `?r=` and the newest backtests of strategies `?s=`."""
    runs = _runs(request)
    form = CompareForm(request.GET)
    form.fields["r"].choices = _offered(request, runs)  # type: ignore[attr-defined]
    context: dict[str, Any] = {"form": form, "runs": runs, "error": ""}
    status = 200
    if runs:
        try:
            found = _compare(request, runs)
        except AlphaStratError as error:
            status, context["error"] = error.status, f"{error} {' '.join(error.fields.values())}"
        else:
            if "format" in request.GET:
                return _export(found, request.GET["format"])
            context |= _context(request, found)
    return render_page(
        request, "strategies/compare.html", "strategies/_compare.html", context, status=status
    )


@login_required
@require_GET
def comparison_chart(request: PageRequest, chart: str) -> HttpResponse:
    if chart not in COMPARED:
        raise Http404
    return figure_response(COMPARED[chart](_compare(request, _runs(request))))


def _compare(request: PageRequest, runs: list[BacktestRun]) -> Comparison:
    period = CompareForm(request.GET)
    period.fields.pop("r")
    wanted = period.cleaned_data if period.is_valid() else {}
    return compare(runs, start=wanted.get("start"), end=wanted.get("end"))


def _runs(request: PageRequest) -> list[BacktestRun]:
    """Return the runs that the address names, in its order; a stranger's run is not found."""
    mine = (
        BacktestRun.objects.for_user(request.user)
        .succeeded()
        .select_related("strategy_version__strategy")
        .defer("trades", "luck", "agreement", "findings")
    )
    wanted = _ids(request.GET.getlist("r"))
    found = {run.pk: run for run in mine.filter(pk__in=wanted)}
    if len(found) < len(set(wanted)):
        raise Http404
    runs = [found[key] for key in dict.fromkeys(wanted)]
    for strategy_id in _ids(request.GET.getlist("s")):
        newest = mine.filter(strategy_version__strategy_id=strategy_id).first()
        if newest is None:
            raise Http404
        runs.append(newest)
    return runs


def _ids(texts: list[str]) -> list[UUID]:
    try:
        return [UUID(text) for text in texts]
    except ValueError:
        raise Http404 from None


def _offered(request: PageRequest, chosen: list[BacktestRun]) -> list[tuple[str, str]]:
    newest = BacktestRun.objects.for_user(request.user).succeeded().listed()[:N_OFFERED]
    offered = {str(run.pk): f"{run.title}, {run.period}" for run in [*chosen, *newest]}
    return list(offered.items())


def _context(request: PageRequest, found: Comparison) -> dict[str, Any]:
    columns = (
        Column("label", "Metric", link="url"),
        *(Column(f"v{j}", label, "html") for j, label in enumerate(found.labels)),
    )
    settings = (
        Column("label", "Setting"),
        *(Column(f"v{j}", label) for j, label in enumerate(found.labels)),
    )
    return {
        "found": found,
        "columns": columns,
        "rows": [_metric(row) for row in found.measures],
        "setting_columns": settings,
        "settings": [
            {"label": row["setting"], **{f"v{j}": v for j, v in enumerate(row["values"])}}
            for row in found.differences
        ],
        "correlation_columns": settings,
        "correlations": [
            {
                "label": label,
                **{f"v{j}": format_value("ratio", v).text for j, v in enumerate(row)},
            }
            for label, row in zip(found.labels, found.correlation, strict=True)
        ],
        "growth_svg": preview(previews_of(found.growth)),
        "growth_caption": growth_caption(found),
        "drawdown_svg": preview(previews_of(found.drawdowns)),
        "drawdown_caption": drawdown_caption(found),
        "query": query_url(request, format=None),
        "too_many": len(found.runs) > MAX_LINES,
    }


def _metric(row: dict[str, Any]) -> dict[str, Any]:
    name = FORMATS[row["unit"]]
    name = f"signed_{name}" if row["key"] in SIGNED else name
    cells = {}
    for j, value in enumerate(row["values"]):
        text = format_value(name, value).text
        cells[f"v{j}"] = f"{text} · best" if j == row["best"] else text
    return {"label": row["label"], "url": metric_url(row["key"]), **cells}


def _export(found: Comparison, form: str) -> HttpResponseBase:
    rows = [{"metric": row["key"], **_by_label(found, row["values"])} for row in found.measures]
    columns = [Column("metric", "metric"), *(Column(label, label) for label in found.labels)]
    return exports.table_response(rows, columns, name="comparison", form=form)


def _by_label(found: Comparison, values: list[Any]) -> dict[str, Any]:
    return dict(zip(found.labels, values, strict=True))
