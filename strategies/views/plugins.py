"""The page of strategy types: those that can be used, and files of users that cannot, and why."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from strategies.quant import registry
from strategies.services import plugins
from strategies.views.strategy_tables import (
    PARAMETER_COLUMNS,
    complexity_words,
    parameter_rows,
)

COLUMNS = tuple(column for column in PARAMETER_COLUMNS if column.key != "value")


@login_required
@require_GET
def plugin_list(request: HttpRequest) -> HttpResponse:
    """Show every plug-in and every file that was rejected."""
    context = {
        "rows": [_row(facts) for facts in plugins.known()],
        "columns": COLUMNS,
        "rejected": plugins.rejected(),
        "folder": settings.PLUGIN_DIR,
    }
    return render(request, "strategies/plugin_list.html", context)


def _row(facts: plugins.PluginFacts) -> dict[str, Any]:
    cls = registry.plugin(facts.key)
    return {
        "facts": facts,
        "file": facts.source.removeprefix(f"{settings.BASE_DIR}/"),
        "table_id": f"parameters-{facts.key}",
        "caption": f"Parameters of {facts.label}",
        "parameters": parameter_rows(cls, {}),
        "complexity": complexity_words(cls),
    }
