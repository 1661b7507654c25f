"""Pages of parameter sweeps."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_GET

from alphastrat.core import exports
from alphastrat.core.charts import Chart, figure_response
from alphastrat.core.etags import not_modified, with_entity_tag
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column, Order, read_order
from strategies import search_charts
from strategies.models import Sweep
from strategies.models.sweep import Method
from strategies.search_forms import SweepForm
from strategies.services import sweeps
from strategies.services.search_space import axis_label
from strategies.services.sweep_findings import find as find_faults
from strategies.services.sweep_findings import stability_words
from strategies.services.sweep_judging import luck_of
from strategies.services.sweep_surface import METRIC_LABELS, SetRows, Surface
from strategies.views import searches

SETS_PER_PAGE = 100
N_TOP_SETS = 12
COLUMNS = (
    Column("title", "Sweep", sort="title", link="get_absolute_url"),
    Column("state", "State", "status", sort="status"),
    Column("plateau_sharpe", "Steadiest Sharpe", "signed_ratio", sort="plateau_sharpe"),
    Column("best_sharpe", "Best Sharpe", "signed_ratio", sort="best_sharpe"),
    Column("stability", "Stability", "percent", sort="stability", options={"places": 0}),
    Column(
        "overfitting_probability",
        "Overfitting",
        "percent",
        sort="overfitting_probability",
        options={"places": 0},
    ),
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
    "method",
    "objective",
    "n_sets",
    "n_evaluated",
    "best_sharpe",
    "plateau_sharpe",
    "stability",
    "overfitting_probability",
    "requested_at",
    "data_fingerprint",
    "code_version",
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
    "method",
    "objective",
    "budget",
    "seed",
    "status",
    "n_sets",
    "n_evaluated",
    "summary",
    "data_fingerprint",
    "code_version",
    "library_versions",
    "requested_at",
    "finished_at",
)
CHARTS = ("heat", "sharpes", "overfitting")


@login_required
@require_GET
def sweep_chart(request: PageRequest, search_id: UUID, chart: str) -> HttpResponseBase:
    """Answer a chart's figure, or its numbers with `?format=csv`."""
    sweep = _succeeded(request, search_id)
    if chart not in CHARTS:
        raise Http404
    form = request.GET.get("format")
    luck = luck_of(sweep) if chart == "sharpes" else None
    n_looks = luck["n_trials"] if luck else 0
    known = not_modified(request, sweep.etag, chart, request.GET.urlencode(), n_looks)
    if known is not None:
        return known
    built = _chart(request, Surface(sweep), chart, luck)
    if form:
        return searches.chart_numbers(sweep, built, form)
    return with_entity_tag(request, figure_response(built.draw()))


@login_required
@require_GET
def sweep_sets(request: PageRequest, search_id: UUID) -> HttpResponseBase:
    """List every set that was tried, sorted and paged, or export them all."""
    sweep = _succeeded(request, search_id)
    surface = Surface(sweep)
    columns = set_columns(surface)
    order = read_order(request, columns, default=f"-{sweep.objective}")
    rows = SetRows(surface, _order(surface, order), url=_backtest_url(sweep))
    if "format" in request.GET:
        names = [name.removeprefix("set.") for name in (column.key for column in columns)]
        keys = [column.key for column in columns if column.key != "backtest"]
        plain = [Column(key, key, metric=name) for key, name in zip(keys, names, strict=False)]
        name = f"sweep-{str(sweep.pk)[:8]}"
        return exports.table_response(rows, plain, name=name, form=request.GET["format"])
    context = {
        "search": sweep,
        "columns": columns,
        "order": order,
        "page": Paginator(rows, SETS_PER_PAGE).get_page(request.GET.get("page")),
    } | KIND.links
    return render_page(
        request, "strategies/sweep_sets.html", "strategies/_sweep_sets.html", context
    )


def set_columns(surface: Surface) -> tuple[Column, ...]:
    """Return the columns of the table of sets: its parameters, then its metrics."""
    plugin = surface.sweep.plugin
    own = [
        Column(f"set.{name}", axis_label(plugin, name), sort=f"set.{name}")
        for name in surface.names
    ]
    signed = {"sharpe", "smoothed", "total_return", "max_drawdown"}
    measured = [
        Column(name, label, f"signed_{unit}" if name in signed else unit, sort=name)
        for name, (label, unit) in METRIC_LABELS.items()
    ]
    return (*own, *measured, Column("backtest", "Try it", link="url"))


def _result(request: PageRequest, sweep: Sweep) -> dict[str, Any]:
    surface = Surface(sweep)
    luck = luck_of(sweep)
    view = _view(request, surface)
    best, plateau = sweep.summary["best"], sweep.summary["plateau"]
    order = _order(surface, Order("smoothed", descending=True))
    rows = SetRows(surface, order, url=_backtest_url(sweep))
    short = [
        column
        for column in set_columns(surface)
        if column.key not in ("exposure", "turnover", "profit_factor", "win_rate")
    ]
    return {
        "best": best,
        "plateau": plateau,
        "best_words": _set_words(sweep, best),
        "plateau_words": _set_words(sweep, plateau),
        "stability_word": stability_words(plateau),
        "overfitting": sweep.summary.get("overfitting"),
        "luck": luck,
        "luck_note": _luck_note(luck),
        "findings": find_faults(sweep, luck),
        "heat": search_charts.heat(surface, view),
        "heat_query": f"?x={view.x}&y={view.y}&metric={view.metric}&at={view.at}",
        "sharpes": search_charts.sharpe_histogram(surface, luck),
        "overfitting_chart": search_charts.overfitting(sweep),
        "view": view,
        "axes": [(name, axis_label(sweep.plugin, name)) for name in surface.names],
        "metrics": [(name, label) for name, (label, _) in METRIC_LABELS.items()],
        "set_columns": [Column(c.key, c.label, c.format, link=c.link) for c in short],
        "top": rows[:N_TOP_SETS],
        "backtest_url": f"{_backtest_url(sweep)}{plateau['number']}",
        "is_bayesian": sweep.method == Method.BAYESIAN,
        "settings": [
            ("Method", sweep.get_method_display().partition(":")[0]),
            ("Better means", sweep.get_objective_display()),
            *searches.settings_of(sweep),
        ],
    }


def _chart(request: PageRequest, surface: Surface, chart: str, luck: Any) -> Chart:
    if chart == "heat":
        return search_charts.heat(surface, _view(request, surface))
    if chart == "sharpes":
        return search_charts.sharpe_histogram(surface, luck)
    return search_charts.overfitting(surface.sweep)


def _view(request: PageRequest, surface: Surface) -> search_charts.View:
    """Return the slice that the address asks for, where it makes sense."""
    first, second = (surface.by_sensitivity() * 2)[:2]
    x, y = request.GET.get("x", first), request.GET.get("y", second)
    metric, at = request.GET.get("metric", surface.sweep.objective), request.GET.get("at", "")
    x, y = (x if x in surface.names else first), (y if y in surface.names else second)
    if x == y and len(surface.names) > 1:
        y = next(name for name in surface.by_sensitivity() if name != x)
    known = at.isascii() and at.isdigit() and len(at) < 12 and surface.has(int(at))
    return search_charts.View(
        x=x,
        y=y,
        metric=metric if metric in METRIC_LABELS else surface.sweep.objective,
        at=int(at) if known else int(surface.sweep.summary["plateau"]["number"]),
    )


def _order(surface: Surface, order: Order) -> Any:
    if order.sort.startswith("set."):
        name = order.sort.removeprefix("set.")
        values = surface.positions[:, surface.names.index(name)].astype(float)
    else:
        values = surface.frame[order.sort].to_numpy(np.float64)
    # Undefined values come last, whichever way the table is sorted.
    keys = np.where(np.isfinite(values), -values if order.descending else values, np.inf)
    return np.argsort(keys, kind="stable")


def _backtest_url(sweep: Sweep) -> str:
    return f"{reverse('strategies:backtest-new')}?sweep={sweep.pk}&set="


def _set_words(sweep: Sweep, chosen: dict[str, Any]) -> str:
    parts = [
        f"{axis_label(sweep.plugin, name).partition(',')[0]} {value:g}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else f"{axis_label(sweep.plugin, name)} {value}"
        for name, value in chosen["parameters"].items()
    ]
    return ", ".join(parts)


def _luck_note(luck: dict[str, Any] | None) -> str:
    if luck is None:
        return ""
    return (
        f"after {luck['n_trials']:,} looks, {luck['n_effective']:,.0f} of them independent; 95% "
        "or more passes"
    )


def _succeeded(request: PageRequest, search_id: UUID) -> Sweep:
    sweep: Sweep = searches.find(request, Sweep, search_id)
    if sweep.status != Sweep.Status.SUCCEEDED:
        raise Http404
    return sweep


KIND = searches.Kind(
    name="sweep",
    plural="Sweeps",
    model=Sweep,
    form=SweepForm,
    ask=sweeps.request_sweep,
    task=sweeps.TASK,
    columns=COLUMNS,
    export=EXPORTS,
    document=DOCUMENT,
    result=_result,
)
sweep_list = searches.list_view(KIND)
sweep_new = searches.new_view(KIND)
sweep_detail = searches.detail_view(KIND)
sweep_resume = searches.resume_view(KIND)
sweep_delete = searches.delete_view(KIND)
