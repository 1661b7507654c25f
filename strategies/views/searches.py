"""What the pages of walk-forwards and sweeps share; a kind has its columns, form and result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh

from alphastrat.core import exports, live
from alphastrat.core.access import Role, View, role_required
from alphastrat.core.charts import Chart
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from strategies.forms import initial_of
from strategies.models.search import Search, SearchStatus
from strategies.search_forms import SearchFilter, SearchForm, initial_space
from strategies.services import searching
from strategies.services.lifecycle import matching_version
from strategies.services.search_space import axis_label
from strategies.services.studies import discard
from strategies.services.trials import looks_at
from strategies.views import result_tables, studies

DEFAULT_PLUGIN = "moving_average_cross"
N_SUGGESTED_SYMBOLS = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets the pages of one kind of search apart.

    `name` is that of its templates, `slug` that of its addresses; `ask` takes owner, request, time
    and version, and stores a search; `result` gives the context of a page with a result.
    """

    name: str
    plural: str
    model: type[Search]
    form: type[SearchForm]
    ask: Callable[..., Search]
    task: str
    columns: tuple[Column, ...]
    export: tuple[str, ...]
    document: tuple[str, ...]
    result: Callable[[PageRequest, Any], dict[str, Any]]

    @property
    def slug(self) -> str:
        return self.name.replace("_", "-")

    @property
    def links(self) -> dict[str, str]:
        """Return the URL names that templates of both kinds use."""
        pages = ("list", "new", "resume", "delete")
        return {f"{page}_url": f"strategies:{self.slug}-{page}" for page in pages} | {
            "list_label": self.plural
        }


def list_view(kind: Kind) -> View:
    @login_required
    @require_GET
    def view(request: PageRequest) -> HttpResponseBase:
        form = SearchFilter(request.GET)
        return studies.list_page(
            request, kind.model, form, name=kind.name, columns=kind.columns, export=kind.export
        )

    return view


def new_view(kind: Kind) -> View:
    """Ask for a search; `?validate` answers the form with its estimate and starts nothing."""

    @role_required(Role.TRADER)
    @require_http_methods(["GET", "POST"])
    def view(request: PageRequest) -> HttpResponse:
        if request.method == "GET":
            return _form_page(request, kind.form(initial=_initial(request, kind)), kind)
        return _create(request, kind.form(request.POST), kind)

    return view


def detail_view(kind: Kind) -> View:
    """Show a search: its progress, why it stopped, or its result."""

    @login_required
    @require_GET
    def view(request: PageRequest, search_id: UUID) -> HttpResponseBase:
        search = find(request, kind.model, search_id)
        if request.GET.get("format") == "json":
            return _document(search, kind)
        if search.state != SearchStatus.SUCCEEDED:
            return _unfinished(request, search, kind)
        if request.htmx and request.htmx.target and "job" in request.htmx.target:
            return HttpResponseClientRefresh()
        context = {
            "search": search,
            "provenance": _provenance_of(search),
            "can_write": request.user.has_role(Role.TRADER),
        }
        return render_page(
            request,
            f"strategies/{kind.name}_detail.html",
            f"strategies/_{kind.name}_result.html",
            context | kind.result(request, search) | kind.links,
        )

    return view


def resume_view(kind: Kind) -> View:
    @role_required(Role.TRADER)
    @require_POST
    def view(request: PageRequest, search_id: UUID) -> HttpResponse:
        search = find(request, kind.model, search_id)
        searching.resume(search, task=kind.task, kind=kind.slug, at=now())
        return redirect(search)

    return view


def delete_view(kind: Kind) -> View:
    @role_required(Role.TRADER)
    @require_POST
    def view(request: PageRequest, search_id: UUID) -> HttpResponse:
        search = find(request, kind.model, search_id)
        discard(search, at=now())
        messages.info(request, f"Deleted “{search.title}”. Its sets still count as trials.")
        return redirect(f"strategies:{kind.slug}-list")

    return view


def find(request: PageRequest, model: type[Search], search_id: UUID) -> Any:
    """Return a search that the person may see, or answer 404."""
    found = model.objects.for_user(request.user).select_related(
        "strategy_version__strategy", "job", "owner"
    )
    return get_object_or_404(found, pk=search_id)


def _initial(request: PageRequest, kind: Kind) -> dict[str, Any]:
    """Start from an earlier search, from a strategy, or from nothing."""
    if search_id := request.GET.get("from"):
        search = find(request, kind.model, studies.as_uuid(search_id))
        return initial_of(searching.specification_of(search)) | initial_space(search.space)
    return studies.from_strategy(request) or studies.from_nothing(
        request, plugin=DEFAULT_PLUGIN, n_symbols=N_SUGGESTED_SYMBOLS
    )


def _version_of(request: PageRequest, form: SearchForm) -> Any:
    """Return the strategy's version that a search varies; None where it starts from nothing."""
    if not form.cleaned_data.get("strategy"):
        return None
    strategy = studies.find_strategy(request, form.cleaned_data["strategy"])
    version = strategy.current_version
    return version and (matching_version(strategy, form.specification()) or version)


def _form_page(
    request: PageRequest, form: SearchForm, kind: Kind, *, status: int = 200
) -> HttpResponse:
    """Show the form of a search with the estimate of what it takes."""
    context = {"form": form, "plan": form.plan, "plugin": form.plugin_class}
    if form.plan is not None:
        asked = form.plan.search.plan.specification
        context["n_looks"] = looks_at(
            request.user, plugin=asked.plugin, symbols=asked.symbols, timeframe=asked.timeframe
        )
    return render_page(
        request,
        f"strategies/{kind.name}_new.html",
        f"strategies/_{kind.name}_form.html",
        context,
        status=status,
    )


def _create(request: PageRequest, form: SearchForm, kind: Kind) -> HttpResponse:
    """Answer a form: as a draft with its estimate, with its problems, or by starting the job."""
    is_valid = form.is_valid()
    if "validate" in request.GET or "refresh" in request.POST:
        form.excuse_unfinished()
        return _form_page(request, form, kind)
    if not is_valid or form.plan is None:
        return _form_page(request, form, kind, status=422)
    try:
        version = _version_of(request, form)
        search: Any = kind.ask(request.user, form.request(), at=now(), version=version)
    except AlphaStratError as error:
        form.report(error)
        return _form_page(request, form, kind, status=422)
    if request.htmx:
        return HttpResponseClientRedirect(search.get_absolute_url())
    return redirect(search)


def _unfinished(request: PageRequest, search: Search, kind: Kind) -> HttpResponse:
    """Show a search that is under way, or that has stopped."""
    heads = live.heads(f"job:{search.job_id}") if search.job_id else {}
    context = {
        "search": search,
        "settings": settings_of(search),
        "heads": heads,
        "can_write": request.user.has_role(Role.TRADER),
    } | kind.links
    name = "search_stopped" if search.is_ended else "search_progress"
    return render_page(request, f"strategies/{name}.html", f"strategies/_{name}.html", context)


def settings_of(search: Search) -> list[tuple[str, str]]:
    """Return what a search was asked to do, in words."""
    subject: Any = search
    varied = [
        (axis_label(search.plugin, name), axis_words(axis)) for name, axis in search.space.items()
    ]
    return [*varied, *result_tables.settings_of(subject)]


def _provenance_of(search: Search) -> list[tuple[str, str]]:
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


def _document(search: Search, kind: Kind) -> HttpResponseBase:
    """Return everything about a search but its arrays as JSON."""
    columns = [Column(name, name) for name in kind.document]
    name = f"{kind.slug}-{str(search.pk)[:8]}"
    return exports.table_response([search], columns, name=name, form="json")
