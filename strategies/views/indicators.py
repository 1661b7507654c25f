"""Choosing an indicator for the price chart: a step that leads back to the chart's address."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from alphastrat.core.errors import InvalidInput
from alphastrat.core.http import PageRequest
from alphastrat.marketdata.models import Instrument
from strategies.indicator_charts import read_choice, with_request
from strategies.quant.indicator_specs import IndicatorParameter
from strategies.services.indicator_requests import (
    IndicatorRequest,
    format_requests,
    indicator_request,
    parse_request,
)

# What this step adds to the address of the chart, and takes out again.
OWN = frozenset({"add", "edit", "set", "format"})

# TA-Lib's own bounds of a real number are no advice to a person.
MAX_TYPED = 1e9


class ParameterForm(forms.Form):
    """The parameters of one indicator, with the ranges of the catalogue."""

    def __init__(self, asked: IndicatorRequest, typed: QueryDict | None = None) -> None:
        super().__init__(typed, initial=asked.parameters, prefix="p")
        for known in asked.spec.parameters:
            self.fields[known.name] = _field(known)


@login_required
@require_GET
def choose_indicator(request: PageRequest, symbol: str) -> HttpResponse:
    """Add an indicator with its usual parameters, or ask for those of one that is drawn."""
    instrument = get_object_or_404(Instrument, symbol=symbol)
    edited = request.GET.get("edit", "")
    try:
        if not edited:
            new = indicator_request(request.GET.get("add", ""))
            return _with(request, instrument, new)
        asked = parse_request(edited)
    except InvalidInput as error:
        return _page(request, instrument, problem=error)
    if "set" not in request.GET:
        return _page(request, instrument, asked=asked, form=ParameterForm(asked))
    form = ParameterForm(asked, request.GET)
    if form.is_valid():
        try:
            new = indicator_request(asked.spec.name, form.cleaned_data)
            return _with(request, instrument, new, instead_of=asked)
        except InvalidInput as error:
            for name, advice in error.fields.items():
                form.add_error(name if name in form.fields else None, f"{error} {advice}")
    return _page(request, instrument, asked=asked, form=form)


def _with(
    request: PageRequest,
    instrument: Instrument,
    new: IndicatorRequest,
    *,
    instead_of: IndicatorRequest | None = None,
) -> HttpResponseRedirect:
    requests = [one for one in read_choice(request.GET).requests if one != instead_of]
    kept = _kept(request)
    kept["indicators"] = format_requests(with_request(requests, new))
    chart = f"{instrument.get_absolute_url()}?{urlencode(kept, safe=':,')}#price"
    return redirect(chart)


def _page(request: PageRequest, instrument: Instrument, **context: Any) -> HttpResponse:
    wrong = context.get("problem") or getattr(context.get("form"), "errors", None)
    kept = _kept(request)
    context |= {
        "instrument": instrument,
        "kept": kept.items(),
        "back": f"{instrument.get_absolute_url()}?{urlencode(kept, safe=':,')}",
        "action": reverse("strategies:indicator-choice", args=[instrument.symbol]),
        "edited": request.GET.get("edit", ""),
    }
    return render(
        request, "strategies/indicator_choice.html", context, status=422 if wrong else 200
    )


def _kept(request: PageRequest) -> dict[str, str]:
    """Return what else the chart's address says, such as the timeframe."""
    return {
        key: str(value)
        for key, value in request.GET.items()
        if key not in OWN and not key.startswith("p-")
    }


def _field(known: IndicatorParameter) -> forms.Field:
    advice = f"{known.low:g} to {known.high:g}; usually {known.default:g}"
    if known.is_integer:
        return forms.IntegerField(
            label=known.label,
            help_text=advice,
            min_value=int(known.low),
            max_value=int(known.high),
        )
    if known.high > MAX_TYPED:
        return forms.FloatField(label=known.label, help_text=f"Usually {known.default:g}")
    return forms.FloatField(
        label=known.label, help_text=advice, min_value=known.low, max_value=known.high
    )
