"""Pages of walk-forward analyses."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from alphastrat.core import exports
from alphastrat.core.charts import figure_response
from alphastrat.core.etags import not_modified, with_entity_tag
from alphastrat.core.formatting import percent
from alphastrat.core.http import PageRequest
from alphastrat.core.tables import Column
from strategies.models import WalkForward
from strategies.search_charts import WALK_FORWARD_CHARTS
from strategies.search_forms import WalkForwardForm
from strategies.services import walk_forwards
from strategies.services.search_space import axis_label
from strategies.services.verdicts import efficiency_range, judge
from strategies.views import searches

COLUMNS = (
    Column("title", "Walk-forward", sort="title", link="get_absolute_url"),
    Column("state", "State", "status", sort="status"),
    Column("efficiency", "Efficiency", "percent", sort="efficiency", options={"places": 0}),
    Column("sharpe_ratio", "Sharpe out of sample", "signed_ratio", sort="sharpe_ratio"),
    Column("total_return", "Return", "signed_percent", sort="total_return"),
    Column("max_drawdown", "Drawdown", "signed_percent", sort="max_drawdown"),
    Column("n_folds", "Folds", "count", sort="n_folds"),
    Column("n_sets", "Sets", "count", sort="n_sets"),
    Column("period", "Period"),
    Column("requested_at", "Asked for", "age", sort="requested_at"),
)
EXPORTS = (
    "id",
    "title",
    "plugin",
    "timeframe",
    "start_at",
    "end_at",
    "status",
    "scheme",
    "n_folds",
    "n_sets",
    "n_evaluated",
    "efficiency",
    "sharpe_efficiency",
    "sharpe_ratio",
    "total_return",
    "max_drawdown",
    "n_trades",
    "requested_at",
    "data_fingerprint",
    "code_version",
)
FOLD_COLUMNS = (
    Column("number", "Fold"),
    Column("starts", "From", "day"),
    Column("ends", "To", "day"),
    Column("in_sample_sharpe", "Sharpe in sample", "signed_ratio"),
    Column("out_of_sample_sharpe", "Out of sample", "signed_ratio"),
    Column("in_sample_return", "Return a year in sample", "signed_percent"),
    Column("out_of_sample_return", "Out of sample", "signed_percent"),
    Column("efficiency", "Efficiency", "percent", options={"places": 0}),
    Column("n_trips", "Trades", "count"),
)
DOCUMENT = (
    "id",
    "title",
    "plugin",
    "parameters",
    "space",
    "symbols",
    "timeframe",
    "start_at",
    "end_at",
    "capital",
    "currency",
    "costs",
    "exit_rules",
    "sizing",
    "benchmark",
    "scheme",
    "selection",
    "n_folds",
    "train_share",
    "purge",
    "embargo",
    "seed",
    "status",
    "efficiency",
    "sharpe_efficiency",
    "summary",
    "folds",
    "n_evaluated",
    "data_fingerprint",
    "code_version",
    "library_versions",
    "requested_at",
    "finished_at",
)


@login_required
@require_GET
def walk_forward_chart(request: PageRequest, search_id: UUID, chart: str) -> HttpResponseBase:
    """Answer a chart's figure, or its numbers with `?format=csv`."""
    analysis = searches.find(request, WalkForward, search_id)
    if chart not in WALK_FORWARD_CHARTS or analysis.status != WalkForward.Status.SUCCEEDED:
        raise Http404
    form = request.GET.get("format")
    unchanged = not_modified(request, analysis.etag, chart, form)
    if unchanged is not None:
        return unchanged
    built = WALK_FORWARD_CHARTS[chart](analysis)
    if form:
        return searches.chart_numbers(analysis, built, form)
    return with_entity_tag(request, figure_response(built.draw()))


@login_required
@require_GET
def walk_forward_folds(request: PageRequest, search_id: UUID) -> HttpResponseBase:
    """Export the folds with their parameters."""
    analysis = searches.find(request, WalkForward, search_id)
    if analysis.status != WalkForward.Status.SUCCEEDED:
        raise Http404
    names = [name for name in analysis.folds[0] if name not in ("fold", "parameters")]
    varied = [f"parameters.{name}" for name in analysis.folds[0]["parameters"]]
    columns = [Column(name, name) for name in [*names, *varied]]
    form = request.GET.get("format", "csv")
    name = f"folds-{str(analysis.pk)[:8]}"
    return exports.table_response(analysis.folds, columns, name=name, form=form)


def _result(request: PageRequest, analysis: WalkForward) -> dict[str, Any]:
    status, findings = judge(analysis)
    spread = efficiency_range(analysis)
    built = {key.replace("-", "_"): draw(analysis) for key, draw in WALK_FORWARD_CHARTS.items()}
    won = sum(fold["out_of_sample_return"] > 0 for fold in analysis.folds)
    return {
        "verdict": status,
        "findings": findings,
        "spread": f"from {percent(spread[0], 0)} to {percent(spread[1], 0)}" if spread else "",
        "won": f"{won} of {len(analysis.folds)}",
        "numbers": analysis.summary["strategy"],
        "versus": analysis.summary["benchmark"],
        "charts": built,
        "fold_columns": _fold_columns(analysis),
        "folds": [_fold_row(fold) for fold in analysis.folds],
        "settings": [*_fold_settings(analysis), *searches.settings_of(analysis)],
    }


def _fold_columns(analysis: WalkForward) -> tuple[Column, ...]:
    names = analysis.folds[0]["parameters"]
    own = [Column(f"parameters.{name}", axis_label(analysis.plugin, name)) for name in names]
    return (*FOLD_COLUMNS, *own)


def _fold_row(fold: dict[str, Any]) -> dict[str, Any]:
    return {
        **fold,
        "starts": datetime.fromisoformat(fold["test_start_at"]),
        "ends": datetime.fromisoformat(fold["test_end_at"]),
    }


def _fold_settings(analysis: WalkForward) -> list[tuple[str, str]]:
    first = analysis.folds[0]
    return [
        ("Folds", f"{analysis.n_folds}, {analysis.get_scheme_display().partition(':')[0].lower()}"),
        ("In and out of sample", f"{first['n_train']} and {first['n_test']} bars"),
        ("Purge and embargo", f"{analysis.purge} and {analysis.embargo} bars"),
        ("Taken out of sample", analysis.get_selection_display()),
    ]


KIND = searches.Kind(
    name="walk_forward",
    plural="Walk-forwards",
    model=WalkForward,
    form=WalkForwardForm,
    ask=walk_forwards.request_walk_forward,
    task=walk_forwards.TASK,
    columns=COLUMNS,
    export=EXPORTS,
    document=DOCUMENT,
    result=_result,
)
walk_forward_list = searches.list_view(KIND)
walk_forward_new = searches.new_view(KIND)
walk_forward_detail = searches.detail_view(KIND)
walk_forward_resume = searches.resume_view(KIND)
walk_forward_delete = searches.delete_view(KIND)
