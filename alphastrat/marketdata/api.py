"""JSON API for instruments, bars and imports."""

from __future__ import annotations

from uuid import UUID

import pandas as pd
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.datastructures import MultiValueDict
from django.utils.timezone import now
from ninja import File, Form, Query, Router, Schema, Status, UploadedFile

from alphastrat.core.errors import InvalidInput
from alphastrat.core.etags import not_modified
from alphastrat.core.http import ApiRequest
from alphastrat.core.pagination import paged
from alphastrat.marketdata.forms import ImportForm
from alphastrat.marketdata.models import ImportRun, Instrument, QualityFinding, QuarantinedRow
from alphastrat.marketdata.schemas import (
    BarQuery,
    BarsOut,
    ImportOut,
    InstrumentDetailOut,
    InstrumentFilter,
    InstrumentOut,
    QualityFindingOut,
    QuarantinedOut,
)
from alphastrat.marketdata.services.bar_views import view_bars
from alphastrat.marketdata.services.imports import request_import
from alphastrat.quant.bars import COLUMNS

router = Router(tags=["market data"])


@router.get("/instruments", response=list[InstrumentOut], url_name="list_instruments")
@paged
def list_instruments(request: ApiRequest, wanted: Query[InstrumentFilter]) -> QuerySet[Instrument]:
    """List instruments by symbol."""
    found = Instrument.objects.filter(is_active=True)
    if wanted.q:
        found = found.filter(Q(symbol__icontains=wanted.q) | Q(name__icontains=wanted.q))
    if wanted.asset_class:
        found = found.filter(asset_class=wanted.asset_class)
    return found.filter(sector=wanted.sector) if wanted.sector else found


@router.get("/instruments/{symbol}", response=InstrumentDetailOut, url_name="get_instrument")
def get_instrument(request: ApiRequest, symbol: str) -> Instrument:
    """Show an instrument and the series stored of it."""
    return _instrument(symbol)


@router.get("/instruments/{symbol}/bars", response=BarsOut, url_name="get_bars")
def get_bars(
    request: ApiRequest, symbol: str, wanted: Query[BarQuery]
) -> HttpResponse | dict[str, object]:
    """Return bars in any timeframe that the stored ones allow."""
    instrument = _instrument(symbol)
    revisions = sorted((str(one.pk), one.revision) for one in instrument.series.all())
    actions = list(instrument.corporate_actions.order_by("pk").values_list("pk", "updated_at"))
    unchanged = not_modified(request, revisions, actions, wanted.model_dump_json())
    if unchanged is not None:
        return unchanged
    bars = view_bars(
        instrument,
        wanted.timeframe,
        adjustment=wanted.adjustment,
        start=wanted.start,
        end=wanted.end,
    ).iloc[-wanted.limit :]
    return {
        "symbol": symbol,
        "timeframe": wanted.timeframe,
        "adjustment": wanted.adjustment,
        "closed_at": list(pd.DatetimeIndex(bars.index).to_pydatetime()),
        **{name: bars[name].tolist() for name in COLUMNS},
    }


@router.get(
    "/instruments/{symbol}/findings", response=list[QualityFindingOut], url_name="list_findings"
)
@paged
def list_findings(request: ApiRequest, symbol: str) -> QuerySet[QualityFinding]:
    """List what is known to be wrong, or suspicious, about the stored bars."""
    return QualityFinding.objects.filter(
        series__instrument=_instrument(symbol), resolved_at__isnull=True
    ).select_related("series")


class ImportIn(Schema):
    """What a file does not say of itself; as on the import page."""

    timeframe: str = "1d"
    symbol: str = ""
    exchange: str = "XNYS"
    asset_class: str = "equity"
    currency: str = "USD"
    adjustment: str = "split"
    zone: str = ""
    source: str = "file"


@router.post("/imports", response={202: ImportOut}, url_name="create_import")
def create_import(
    request: ApiRequest, wanted: Form[ImportIn], file: File[UploadedFile]
) -> Status[ImportRun]:
    """Import a CSV or Parquet file; follow its job."""
    form = ImportForm(wanted.model_dump(), MultiValueDict({"file": [file]}))
    if not form.is_valid():
        fields = {name: " ".join(map(str, errors)) for name, errors in form.errors.items()}
        raise InvalidInput("The file cannot be imported like this.", fields=fields)
    run = request_import(
        file.chunks(),
        owner=request.user,
        file_name=file.name or "upload",
        target=form.target,
        symbol=form.cleaned_data["symbol"],
        zone=form.cleaned_data["zone"],
        at=now(),
    )
    return Status(202, run)


@router.get("/imports", response=list[ImportOut], url_name="list_imports")
@paged
def list_imports(request: ApiRequest) -> QuerySet[ImportRun]:
    """List your imports, newest first."""
    return ImportRun.objects.for_user(request.user).select_related("job")


@router.get("/imports/{uuid:import_id}", response=ImportOut, url_name="get_import")
def get_import(request: ApiRequest, import_id: UUID) -> ImportRun:
    """Show an import."""
    return _import(request, import_id)


@router.get(
    "/imports/{uuid:import_id}/quarantined",
    response=list[QuarantinedOut],
    url_name="list_quarantined",
)
@paged
def list_quarantined(request: ApiRequest, import_id: UUID) -> QuerySet[QuarantinedRow]:
    """List the rows of an import that were held back, each with its reason."""
    return _import(request, import_id).quarantined.all()


def _instrument(symbol: str) -> Instrument:
    return get_object_or_404(Instrument.objects.prefetch_related("series"), symbol=symbol)


def _import(request: HttpRequest, import_id: UUID) -> ImportRun:
    runs = ImportRun.objects.for_user(request.user).select_related("job")
    return get_object_or_404(runs, pk=import_id)
