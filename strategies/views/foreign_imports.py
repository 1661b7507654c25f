"""Importing results of other tools: choose a file, look at what it holds, store it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_http_methods

from alphastrat.core.access import Role, role_required
from alphastrat.core.errors import AlphaStratError, InvalidInput
from alphastrat.core.formatting import day, format_value
from alphastrat.core.http import PageRequest
from strategies.services import foreign_imports
from strategies.services.foreign_imports import Imported, Preview, import_results, preview_import

DIGEST = re.compile(r"[0-9a-f]{64}")


class ResultFileForm(forms.Form):
    """A file of another tool, and the capital where the file does not say it."""

    file = forms.FileField(
        label="Result file",
        max_length=200,
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.json,.zip,.txt"}),
        help_text=f"CSV, JSON or zip, at most {foreign_imports.MAX_BYTES // 2**20} MB.",
    )
    capital = forms.FloatField(
        required=False,
        min_value=0.01,
        max_value=foreign_imports.MAX_CAPITAL,
        help_text="At the start; only for files that do not say it. Empty: the tool's own default.",
    )

    def clean_file(self) -> UploadedFile[Any]:
        upload: UploadedFile[Any] = self.cleaned_data["file"]
        if upload.size and upload.size > foreign_imports.MAX_BYTES:
            raise forms.ValidationError(
                f"The file is larger than {foreign_imports.MAX_BYTES // 2**20} MB. Import a "
                "shorter period."
            )
        return upload


@role_required(Role.TRADER)
@require_http_methods(["GET", "POST"])
def result_import(request: PageRequest) -> HttpResponse:
    """Show the form; a file is answered with what it holds, its confirmation stores it."""
    if request.method == "GET":
        return _form(request, ResultFileForm())
    if "confirm" in request.POST:
        return _confirm(request)
    form = ResultFileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _form(request, form, status=422)
    upload = form.cleaned_data["file"]
    content = upload.read()
    try:
        found = preview_import(
            request.user, content, file_name=upload.name, capital=form.cleaned_data["capital"]
        )
    except AlphaStratError as error:
        return _refuse(request, form, error)
    _keep(request, found.sha256, content)
    return _preview(request, found, form.cleaned_data["capital"])


def _confirm(request: PageRequest) -> HttpResponse:
    digest = request.POST["confirm"]
    path = _path(request, digest) if DIGEST.fullmatch(digest) else None
    if path is None or not path.is_file():
        form = ResultFileForm(data={})
        gone = "The file is no longer there. Choose it again."
        form.fields["file"].error_messages["required"] = gone
        return _form(request, form, status=422)
    stored = import_results(
        request.user,
        path.read_bytes(),
        file_name=request.POST.get("file_name") or "result",
        capital=_capital(request),
        at=now(),
    )
    path.unlink(missing_ok=True)
    return _stored(request, stored)


def _capital(request: PageRequest) -> float | None:
    try:
        capital: float | None = (
            ResultFileForm().fields["capital"].clean(request.POST.get("capital", ""))
        )
    except forms.ValidationError as error:
        raise InvalidInput("The capital cannot be that.") from error
    return capital


def _stored(request: PageRequest, stored: list[Imported]) -> HttpResponse:
    n_new = sum(one.is_new for one in stored)
    if n_new < len(stored):
        messages.info(request, "Nothing was added for what had been imported before.")
    if n_new:
        messages.success(request, f"Imported {n_new} result{'s' if n_new > 1 else ''}.")
    if len(stored) == 1:
        return redirect(stored[0].run)
    return redirect(reverse("strategies:backtest-list") + "?plugin=imported")


def _refuse(request: PageRequest, form: ResultFileForm, error: AlphaStratError) -> HttpResponse:
    for name, advice in error.fields.items():
        form.add_error(name if name in form.fields else None, f"{error} {advice}")
    return _form(request, form, status=422)


def _form(request: PageRequest, form: ResultFileForm, status: int = 200) -> HttpResponse:
    return render(request, "strategies/import_result.html", {"form": form}, status=status)


def _preview(request: PageRequest, found: Preview, capital: float | None) -> HttpResponse:
    context = {
        "found": found,
        "capital": "" if capital is None else capital,
        "results": [
            _facts(result, run) for result, run in zip(found.results, found.stored, strict=True)
        ],
    }
    return render(request, "strategies/import_preview.html", context)


def _facts(result: Any, run: Any) -> dict[str, Any]:
    total = result.equity[-1] / result.capital - 1
    return {
        "title": result.name or "Not named in the file",
        "run": run,
        "missing": result.missing,
        "facts": [
            ("Written by", result.source.value),
            ("Period", f"{day(result.days[0])} to {day(result.days[-1])}"),
            ("Account values", format_value("count", len(result.days)).text),
            ("A year has", f"{result.periods_per_year:g} of them"),
            ("Capital", format_value("money", result.capital, currency="USD").text.lstrip("$")),
            ("Total return", format_value("signed_percent", total).text),
            ("Closed round trips", format_value("count", result.n_closed).text),
            ("Instruments", ", ".join(result.symbols[:12]) or "Not said"),
        ],
    }


def _keep(request: PageRequest, digest: str, content: bytes) -> None:
    """Keep an upload until it is confirmed; those that nobody confirmed go after a day."""
    path = _path(request, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    limit = foreign_imports.expires_before(now())
    for old in path.parent.iterdir():
        if datetime.fromtimestamp(old.stat().st_mtime, UTC) < limit:
            old.unlink(missing_ok=True)
    path.write_bytes(content)


def _path(request: PageRequest, digest: str) -> Path:
    folder: Path = settings.UPLOAD_DIR / "results"
    return folder / f"{request.user.pk}-{digest}"
