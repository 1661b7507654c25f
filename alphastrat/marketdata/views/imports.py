"""Pages of deliveries: upload, progress, and what could not be trusted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh

from alphastrat.core import live
from alphastrat.core.access import Role, require_role
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.exports import table_response
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from alphastrat.marketdata.forms import TIMEFRAMES, ImportFilter, ImportForm
from alphastrat.marketdata.models import Adjustment, AssetClass, ImportRun, QualityFinding
from alphastrat.marketdata.quality import REASONS
from alphastrat.marketdata.services.imports import request_import

PER_PAGE = 25
ROWS_PER_PAGE = 100
JUMPS_SHOWN = 100
SERIES_SHOWN = 12

IMPORT_COLUMNS = (
    Column("file_name", "File", link="get_absolute_url"),
    Column("status", "Status", format="status"),
    Column("source", "Source"),
    Column("rows_read", "Read", format="count"),
    Column("rows_stored", "New", format="count"),
    Column("rows_unchanged", "Unchanged", format="count"),
    Column("rows_restated", "Restated", format="count"),
    Column("rows_quarantined", "Quarantined", format="count"),
    Column("requested_at", "Asked for", format="time"),
)
QUARANTINE_COLUMNS = (
    Column("row_number", "Row", format="count"),
    Column("symbol", "Symbol"),
    Column("values.time", "Time"),
    Column("detail", "What is wrong"),
    Column("values.open", "Open", format="price"),
    Column("values.high", "High", format="price"),
    Column("values.low", "Low", format="price"),
    Column("values.close", "Close", format="price"),
    Column("values.volume", "Volume", format="count"),
)
REASON_COLUMN = Column("reason", "Reason", format="code")
OPTIONS = {
    "timeframe": "Timeframe",
    "symbol": "Symbol of the file",
    "exchange": "Exchange of new instruments",
    "asset_class": "Asset class",
    "currency": "Currency",
    "adjustment": "Prices",
    "zone": "Time zone",
}
TIMEFRAME_LABELS = {frame.value: label for frame, label in TIMEFRAMES.items()}
JUMP_COLUMNS = (
    Column("series.instrument.symbol", "Symbol", link="series.instrument.get_absolute_url"),
    Column("start_at", "Bar", format="day"),
    Column("detail", "What was found"),
)


@login_required
@require_http_methods(["GET", "POST"])
def import_list(request: PageRequest) -> HttpResponseBase:
    if request.method == "POST":
        return _upload(request)
    return _list(request, ImportForm(), status=200)


def _upload(request: PageRequest) -> HttpResponseBase:
    require_role(request.user, Role.TRADER)
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _refuse(request, form)
    upload = form.cleaned_data["file"]
    try:
        run = request_import(
            upload.chunks(),
            owner=request.user,
            file_name=upload.name,
            target=form.target,
            symbol=form.cleaned_data["symbol"],
            zone=form.cleaned_data["zone"],
            at=now(),
        )
    except AlphaStratError as error:
        form.report(error)
        return _refuse(request, form)
    return HttpResponseClientRedirect(run.get_absolute_url()) if request.htmx else redirect(run)


def _refuse(request: PageRequest, form: ImportForm) -> HttpResponseBase:
    if request.htmx:
        return render(request, "marketdata/_import_form.html", {"form": form}, status=422)
    return _list(request, form, status=422)


def _list(request: PageRequest, form: ImportForm, *, status: int) -> HttpResponseBase:
    topic = f"jobs:u{request.user.pk}"
    heads = live.heads(topic)
    chosen = ImportFilter(request.GET)
    runs = chosen.apply(ImportRun.objects.for_user(request.user).select_related("job"))
    if "format" in request.GET:
        return table_response(runs, IMPORT_COLUMNS, name="imports", form=request.GET["format"])
    page = Paginator(runs, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "filter": chosen,
        "columns": IMPORT_COLUMNS,
        "page": page,
        "can_import": request.user.has_role(Role.TRADER),
        "heads": {"jobs": heads[topic]},
    }
    return render_page(
        request, "marketdata/import_list.html", "marketdata/_imports.html", context, status
    )


@login_required
@require_GET
def import_detail(request: PageRequest, import_id: UUID) -> HttpResponseBase:
    runs = ImportRun.objects.for_user(request.user).select_related("job", "owner")
    run = get_object_or_404(runs, pk=import_id)
    if "format" in request.GET:
        rows = run.quarantined.all()
        return table_response(
            rows,
            (*QUARANTINE_COLUMNS, REASON_COLUMN),
            name="quarantined",
            form=request.GET["format"],
        )
    if request.htmx and (request.htmx.target or "").startswith("job-"):
        return _progress(request, run)
    context = {"run": run, **_outcome(request, run)}
    return render_page(request, "marketdata/import_detail.html", "marketdata/_import.html", context)


def _progress(request: PageRequest, run: ImportRun) -> HttpResponseBase:
    """Answer the job that asks how far it is; once it has ended, the page has more to say."""
    if run.job and run.job.is_active:
        return render(request, "marketdata/_import_progress.html", {"run": run})
    return HttpResponseClientRefresh()


def _outcome(request: PageRequest, run: ImportRun) -> dict[str, Any]:
    rows = Paginator(run.quarantined.all(), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    jumps = QualityFinding.objects.filter(
        kind=QualityFinding.Kind.SUSPECTED_SPLIT,
        series__import_runs=run,
        resolved_at__isnull=True,
    ).select_related("series__instrument")
    series = run.series.select_related("instrument")[:SERIES_SHOWN]
    reasons = sorted(run.report.get("reasons", {}).items(), key=lambda item: -item[1])
    return {
        "reasons": [(n_rows, REASONS[reason]) for reason, n_rows in reasons],
        "quarantine_columns": QUARANTINE_COLUMNS,
        "rows": rows,
        "n_kept": rows.paginator.count,
        "jump_columns": JUMP_COLUMNS,
        "jumps": jumps[:JUMPS_SHOWN] if run.finished_at else [],
        "series": series,
        "n_more": max(0, run.report.get("symbols", 0) - SERIES_SHOWN),
        "options": _options(run),
        "advice": list(run.report.get("fields", {}).values()),
    }


def _options(run: ImportRun) -> list[tuple[str, str]]:
    """Return what was said of the file, in words."""
    words = {**dict(Adjustment.choices), **dict(AssetClass.choices), **TIMEFRAME_LABELS}
    return [
        (label, str(words.get(run.options[name], run.options[name])))
        for name, label in OPTIONS.items()
        if run.options.get(name)
    ]
