"""What the pages of walk-forwards and sweeps share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Max, Min
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django_htmx.http import HttpResponseClientRedirect

from alphastrat.core import exports, jobs, live
from alphastrat.core.access import Role
from alphastrat.core.charts import Chart
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from alphastrat.marketdata.models import BarSeries, Instrument
from strategies.forms import default_period, initial_of
from strategies.models import Strategy
from strategies.models.search import Search
from strategies.search_forms import SearchForm, initial_space
from strategies.services import searching
from strategies.services.lifecycle import matching_version
from strategies.services.search_space import axis_label
from strategies.services.specification import of_version
from strategies.services.trials import looks_at
from strategies.views import result_tables

DEFAULT_PLUGIN = "moving_average_cross"
N_SUGGESTED_SYMBOLS = 3


def find(request: PageRequest, model: type[Search], search_id: UUID) -> Any:
    """Return a search that the person may see, or answer 404."""
    found = model.objects.for_user(request.user).select_related(
        "strategy_version__strategy", "job", "owner"
    )
    return get_object_or_404(found, pk=search_id)


def initial(request: PageRequest, model: type[Search]) -> dict[str, Any]:
    """Start from an earlier search, from a strategy, or from what the installation holds."""
    start, end, symbols = _suggested()
    costs = {"costs__commission_bps": 1, "costs__slippage_bps": 2}
    if search_id := request.GET.get("from"):
        search = find(request, model, as_uuid(search_id))
        return initial_of(searching.specification_of(search)) | initial_space(search.space)
    if strategy_id := request.GET.get("strategy"):
        strategy = _strategy(request, as_uuid(strategy_id))
        if strategy.current_version is not None:
            asked = of_version(strategy.current_version, start=start, end=end)
            return initial_of(asked) | {"strategy": strategy.pk} | costs
    return {
        "plugin": request.GET.get("plugin", DEFAULT_PLUGIN),
        "symbols": request.GET.get("symbols", ", ".join(symbols)),
        "start": start,
        "end": end,
    } | costs


def version_of(request: PageRequest, form: SearchForm) -> Any:
    """Return the strategy's version that a search varies; None where it starts from nothing."""
    if not form.cleaned_data.get("strategy"):
        return None
    strategy = _strategy(request, form.cleaned_data["strategy"])
    version = strategy.current_version
    return version and (matching_version(strategy, form.specification()) or version)


def form_page(
    request: PageRequest, form: SearchForm, kind: str, *, status: int = 200
) -> HttpResponse:
    """Show the form of a search with the estimate of what it takes."""
    context = {"form": form, "plan": form.plan, "plugin": form.plugin_class, "kind": kind}
    if form.plan is not None:
        asked = form.plan.search.plan.specification
        context["n_looks"] = looks_at(
            request.user, plugin=asked.plugin, symbols=asked.symbols, timeframe=asked.timeframe
        )
    return render_page(
        request,
        f"strategies/{kind}_new.html",
        f"strategies/_{kind}_form.html",
        context,
        status=status,
    )


def create(request: PageRequest, form: SearchForm, kind: str, ask: Any) -> HttpResponse:
    """Answer a form: as a draft with its estimate, with its problems, or by starting the job."""
    is_valid = form.is_valid()
    if "validate" in request.GET or "refresh" in request.POST:
        form.excuse_unfinished()
        return form_page(request, form, kind)
    if not is_valid or form.plan is None:
        return form_page(request, form, kind, status=422)
    try:
        search = ask(form, version_of(request, form))
    except AlphaStratError as error:
        form.report(error)
        return form_page(request, form, kind, status=422)
    if request.htmx:
        return HttpResponseClientRedirect(search.get_absolute_url())
    return redirect(search)


def unfinished(request: PageRequest, search: Search, kind: str) -> HttpResponse:
    """Show a search that is under way, or that has stopped."""
    heads = live.heads(f"job:{search.job_id}") if search.job_id else {}
    context = {
        "search": search,
        "kind": kind,
        "settings": settings_of(search),
        "heads": heads,
        "can_write": request.user.has_role(Role.TRADER),
    } | links(kind, search)
    name = "search_stopped" if search.is_ended else "search_progress"
    return render_page(request, f"strategies/{name}.html", f"strategies/_{name}.html", context)


def links(kind: str, search: Search) -> dict[str, str]:
    """Return the URL names that templates of both kinds use."""
    slug = kind.replace("_", "-")
    return {
        "list_url": f"strategies:{slug}-list",
        "list_label": "Walk-forwards" if slug == "walk-forward" else "Sweeps",
        "new_url": f"strategies:{slug}-new",
        "resume_url": f"strategies:{slug}-resume",
        "delete_url": f"strategies:{slug}-delete",
    }


def remove(search: Search, request: PageRequest, list_name: str) -> HttpResponse:
    """Delete a search, stopping it first."""
    if not search.is_ended and search.job is not None:
        jobs.cancel(search.job, at=now())
    title = search.title
    search.delete()
    messages.info(request, f"Deleted “{title}”. Its sets still count as trials.")
    return redirect(list_name)


def settings_of(search: Search) -> list[tuple[str, str]]:
    """Return what a search was asked to do, in words."""
    subject: Any = search
    varied = [
        (axis_label(search.plugin, name), axis_words(axis)) for name, axis in search.space.items()
    ]
    return [*varied, *result_tables.settings_of(subject)]


def provenance_of(search: Search) -> list[tuple[str, str]]:
    """Return what is needed to compute the same search again."""
    subject: Any = search
    return [
        ("Id" if label == "Run" else label, value)
        for label, value in result_tables.provenance_of(subject)
    ]


def axis_words(axis: Any) -> str:
    """Return an axis as people write it: 5 to 30 by 5, or its values."""
    if isinstance(axis, Mapping) and "values" not in axis:
        step = axis.get("step")
        by = f" by {step:g}" if step else ""
        return f"{axis['low']:g} to {axis['high']:g}{by}"
    values = axis["values"] if isinstance(axis, Mapping) else axis
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def chart_numbers(search: Search, chart: Chart, form: str) -> HttpResponseBase:
    """Return the numbers of a chart as a file."""
    rows = (dict(zip(chart.columns, row, strict=True)) for row in chart.rows())
    columns = [Column(name, name) for name in chart.columns]
    name = f"{chart.key}-{str(search.pk)[:8]}"
    return exports.table_response(rows, columns, name=name, form=form)


def document(search: Search, names: tuple[str, ...], kind: str) -> HttpResponseBase:
    """Return everything about a search but its arrays as JSON."""
    columns = [Column(name, name) for name in names]
    name = f"{kind}-{str(search.pk)[:8]}"
    return exports.table_response([search], columns, name=name, form="json")


def as_uuid(text: str) -> UUID:
    """Return an id from a query string, or answer 404."""
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


def _suggested() -> tuple[Any, Any, list[str]]:
    symbols = list(
        Instrument.objects.filter(is_active=True, series__timeframe="1d", series__bar_count__gt=0)
        .distinct()
        .values_list("symbol", flat=True)[:N_SUGGESTED_SYMBOLS]
    )
    held = BarSeries.objects.filter(instrument__symbol__in=symbols, timeframe="1d").aggregate(
        first=Min("first_opened_at"), last=Max("last_closed_at")
    )
    first = held["first"].date() if held["first"] else None
    last = held["last"].date() if held["last"] else None
    return (*default_period(first, last), symbols)


def _strategy(request: PageRequest, strategy_id: UUID) -> Strategy:
    strategies = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(strategies, pk=strategy_id)
