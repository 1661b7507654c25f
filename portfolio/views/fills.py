"""Importing files of fills: choose a file, look at every row, record the good ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.http import require_http_methods

from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.http import PageRequest
from alphastrat.core.tables import Column
from portfolio.fill_forms import FillFileForm
from portfolio.models import Account, FillSource
from portfolio.services.fill_formats import FLEX_ZONE, parse_fills
from portfolio.services.fill_imports import import_fills, preview_fills

DIGEST = re.compile(r"[0-9a-f]{64}")
N_SHOWN = 200
ROW_COLUMNS = (
    Column("number", "Row", "count"),
    Column("status", "Outcome", "status"),
    Column("values.symbol", "Symbol"),
    Column("values.side", "Side"),
    Column("values.quantity", "Quantity", "price", options={"places": 4}),
    Column("values.price", "Price", "price"),
    Column("values.commission", "Commission", "money"),
    Column("values.filled_at", "Filled", "time"),
    Column("values.execution_id", "Execution"),
    Column("message", "Why"),
)


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def fill_import(request: PageRequest, account_id: UUID) -> HttpResponse:
    """Show the form; a file is answered with its rows, its confirmation records them."""
    found = Account.objects.for_user(request.user).select_related("strategy")
    account = get_object_or_404(found, pk=account_id)
    if request.method == "GET":
        return _form(request, account, FillFileForm())
    if "confirm" in request.POST:
        return _confirm(request, account)
    form = FillFileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _form(request, account, form, status=422)
    upload, zone = form.cleaned_data["file"], form.cleaned_data["zone"]
    content = upload.read()
    try:
        parsed = parse_fills(content, file_name=upload.name or "file", zone=zone)
        result = preview_fills(account, parsed, at=now())
    except AlphaStratError as error:
        form.add_error("file", str(error))
        return _form(request, account, form, status=422)
    digest = hashlib.sha256(content).hexdigest()
    _keep(request, digest, content)
    context = {
        "account": account,
        "result": result,
        "source": FillSource(result.source).label,
        "rows": sorted(result.rows, key=lambda row: row.status != "refused")[:N_SHOWN],
        "columns": ROW_COLUMNS,
        "digest": digest,
        "file_name": upload.name,
        "zone": zone,
        "n_hidden": max(0, len(result.rows) - N_SHOWN),
    }
    return render(request, "portfolio/fill_preview.html", context)


def _confirm(request: PageRequest, account: Account) -> HttpResponse:
    digest = request.POST["confirm"]
    path = _path(request, digest) if DIGEST.fullmatch(digest) else None
    if path is None or not path.is_file():
        form = FillFileForm(data={})
        gone = "The file is no longer there. Choose it again."
        form.fields["file"].error_messages["required"] = gone
        return _form(request, account, form, status=422)
    name = request.POST.get("file_name") or "file"
    zone = request.POST.get("zone") or FLEX_ZONE
    try:
        parsed = parse_fills(path.read_bytes(), file_name=name, zone=zone)
        result = import_fills(account, parsed, at=now())
    except AlphaStratError as error:
        messages.error(request, str(error))
        return redirect(account)
    path.unlink(missing_ok=True)
    messages.success(request, _sentence(result))
    return redirect(account)


def _sentence(result: Any) -> str:
    parts = [f"{result.n_recorded} fill{'' if result.n_recorded == 1 else 's'} recorded"]
    if result.n_known:
        parts.append(f"{result.n_known} known already")
    if result.n_refused:
        parts.append(f"{result.n_refused} refused")
    return ", ".join(parts) + "."


def _form(
    request: PageRequest, account: Account, form: FillFileForm, status: int = 200
) -> HttpResponse:
    context = {"account": account, "form": form}
    return render(request, "portfolio/fill_import.html", context, status=status)


def _path(request: PageRequest, digest: str) -> Path:
    return Path(settings.UPLOAD_DIR) / "fills" / str(request.user.pk) / digest


def _keep(request: PageRequest, digest: str, content: bytes) -> None:
    path = _path(request, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
