"""What every metric means: definition, formula, source."""

from __future__ import annotations

from functools import cache

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_GET
from latex2mathml.converter import convert

from alphastrat.quant.measures_catalogue import MEASURES


@login_required
@require_GET
def metrics_help(request: HttpRequest) -> HttpResponse:
    entries = [(measure, _mathml(measure.formula)) for measure in MEASURES.values()]
    return render(request, "monitoring/metrics_help.html", {"entries": entries})


@cache
def _mathml(formula: str) -> SafeString:
    # The formulas are our own constants, never input.
    return mark_safe(convert(formula, display="block"))
