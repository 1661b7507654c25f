"""Forms of walk-forwards and sweeps: what a backtest needs, and a range for what varies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

from alphastrat.core.errors import AlphaStratError
from strategies.forms import BacktestForm, PercentField, RunFilter
from strategies.models.search import SearchStatus
from strategies.models.sweep import Method, Objective
from strategies.models.walk_forward import Scheme, Selection
from strategies.quant.parameters import ParameterKind, ParameterSpec, parameter_specs
from strategies.services import sweeps, walk_forwards

N_SUGGESTED_AXES = 2
N_SUGGESTED_LEVELS = 5
RANGE_PARTS = (("low", "From"), ("high", "To"), ("step", "Step"))


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One parameter of the form: its fixed value, and its range or choices."""

    label: str
    unit: str
    value: forms.BoundField
    range: tuple[forms.BoundField, ...]


class SearchForm(BacktestForm):
    """A backtest whose parameters may have a range; a valid form carries its `plan`."""

    engine = None  # type: ignore[assignment]
    plan: Any = None

    @property
    def parameter_rows(self) -> Iterator[ParameterRow]:
        for spec in parameter_specs(self.plugin_class):
            names = [name for name in self.fields if name.startswith(f"space__{spec.name}__")]
            yield ParameterRow(
                spec.label,
                spec.unit,
                self[f"parameters__{spec.name}"],
                tuple(self[name] for name in names),
            )

    def space(self) -> dict[str, Any]:
        """Return the axes that were given a range or several values."""
        space: dict[str, Any] = {}
        for spec in parameter_specs(self.plugin_class):
            prefix = f"space__{spec.name}__"
            if not _has_range(spec):
                if values := self.cleaned_data.get(f"{prefix}values"):
                    space[spec.name] = {"values": [_plain(spec, value) for value in values]}
                continue
            given = {part: self.cleaned_data.get(f"{prefix}{part}") for part, _ in RANGE_PARTS}
            if given["low"] is None and given["high"] is None:
                continue
            step = (spec.step or 1) if given["step"] is None else given["step"]
            space[spec.name] = {**given, "step": step}
        return space

    def clean(self) -> dict[str, Any]:
        cleaned = super(BacktestForm, self).clean() or self.cleaned_data
        needed = {"plugin", "symbols", "start", "end", "capital", "timeframe"}
        if not needed <= set(cleaned) or any(name.startswith("space__") for name in self.errors):
            return cleaned
        try:
            self.plan = self.check()
        except AlphaStratError as error:
            self.report(error)
        return cleaned

    def request(self) -> Any:
        """Return what was asked for, unchecked."""
        raise NotImplementedError

    def check(self) -> Any:
        """Return the plan of what was asked for."""
        raise NotImplementedError

    def report(self, error: AlphaStratError) -> None:
        """Show a service's problem at the fields that it names, an axis at its first field."""
        renamed: dict[str, str] = {}
        for name, reason in error.fields.items():
            part, _, axis = name.partition(".")
            prefix = f"{part}__{axis}__"
            first = next((field for field in self.fields if field.startswith(prefix)), "")
            if part == "space" and first:
                renamed[first.replace("__", ".")] = reason
            elif part == "space":
                self.add_error(None, reason)
            else:
                renamed[name] = reason
        if renamed or "space" not in error.fields:
            error.fields = renamed
            super().report(error)

    def _add_sizing(self) -> None:
        super()._add_sizing()
        n_suggested = 0
        wants_any = any(name.startswith("space__") for name in self.initial)
        for spec in parameter_specs(self.plugin_class):
            # The parameter's name is the legend around its fields.
            self.fields[f"parameters__{spec.name}"].label = "Value"
            if not _has_range(spec):
                self.fields[f"space__{spec.name}__values"] = _values_field(spec)
                continue
            is_suggested = spec.is_free and n_suggested < N_SUGGESTED_AXES and not wants_any
            n_suggested += is_suggested
            suggested = suggest_range(spec) if is_suggested else {}
            for part, label in RANGE_PARTS:
                self.fields[f"space__{spec.name}__{part}"] = forms.FloatField(
                    label=label,
                    required=False,
                    initial=suggested.get(part),
                    widget=forms.NumberInput(attrs={"step": "any"}),
                )

    def _completed(self) -> QueryDict:
        """Give the axes of another plug-in their suggestions, too."""
        is_other = self.data.get("shown_plugin", self.plugin_class.key) != self.plugin_class.key
        data = super()._completed()
        if is_other:
            for name, field in self.fields.items():
                if name.startswith("space__"):
                    data.setlist(name, [] if field.initial is None else [str(field.initial)])
        return data


class WalkForwardForm(SearchForm):
    """A walk-forward analysis."""

    scheme = forms.ChoiceField(
        label="In-sample span", choices=Scheme.choices, initial=Scheme.ROLLING.value
    )
    selection = forms.ChoiceField(
        label="Set to take out of sample",
        choices=Selection.choices,
        initial=Selection.PEAK.value,
    )
    n_folds = forms.IntegerField(label="Folds", initial=6, help_text="Six or more say something.")
    train_share = PercentField(
        label="In-sample share", initial=0.7, help_text="Of each fold; the rest is out of sample."
    )
    purge = forms.IntegerField(
        label="Purge",
        required=False,
        help_text="Left out before each test. Empty: the longest holding time and one bar.",
    )
    embargo = forms.IntegerField(
        label="Embargo", required=False, help_text="Left out in addition. Empty: 1% of the bars."
    )

    @property
    def fold_fields(self) -> Iterator[tuple[forms.BoundField, str]]:
        units = {"train_share": "%", "purge": "bars", "embargo": "bars"}
        for name in ("n_folds", "train_share", "scheme", "selection", "purge", "embargo"):
            yield self[name], units.get(name, "")

    def request(self) -> walk_forwards.WalkForwardRequest:
        """Return what was asked for, unchecked."""
        cleaned = self.cleaned_data
        return walk_forwards.WalkForwardRequest(
            self.specification(),
            self.space(),
            scheme=cleaned.get("scheme", ""),
            selection=cleaned.get("selection", ""),
            n_folds=cleaned.get("n_folds") or 0,
            train_share=cleaned.get("train_share") or 0.0,
            purge=cleaned.get("purge"),
            embargo=cleaned.get("embargo"),
        )

    def check(self) -> walk_forwards.WalkForwardPlan:
        return walk_forwards.check(self.request())


class SweepForm(SearchForm):
    """A parameter sweep."""

    method = forms.ChoiceField(choices=Method.choices, initial=Method.GRID.value)
    objective = forms.ChoiceField(
        label="Better means", choices=Objective.choices, initial=Objective.SHARPE.value
    )
    budget = forms.IntegerField(
        label="Sets to try", initial=200, required=False, help_text="For the Bayesian method."
    )

    def request(self) -> sweeps.SweepRequest:
        """Return what was asked for, unchecked."""
        cleaned = self.cleaned_data
        return sweeps.SweepRequest(
            self.specification(),
            self.space(),
            method=cleaned.get("method", ""),
            objective=cleaned.get("objective", ""),
            budget=cleaned.get("budget") or 0,
        )

    def check(self) -> sweeps.SweepPlan:
        return sweeps.check(self.request())


class SearchFilter(RunFilter):
    """Choose searches by state, strategy type and words."""

    status = forms.ChoiceField(
        label="State", choices=[("", "Any"), *SearchStatus.choices], required=False
    )


def initial_space(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the initial values of a form that repeats the axes of a search."""
    initial: dict[str, Any] = {}
    for name, axis in space.items():
        if isinstance(axis, Mapping) and "values" not in axis:
            initial |= {f"space__{name}__{part}": axis.get(part) for part, _ in RANGE_PARTS}
        else:
            values = axis["values"] if isinstance(axis, Mapping) else axis
            initial[f"space__{name}__values"] = [_choice(value) for value in values]
    return initial


def suggest_range(spec: ParameterSpec) -> dict[str, float]:
    """Return a few levels around a parameter's default, inside its range."""
    default, low, high = float(spec.default), spec.low or 0.0, spec.high or 0.0
    start, end = max(low, default * 0.5), min(high, default * 1.5)
    if end <= start:
        start, end = low, high
    step = (end - start) / (N_SUGGESTED_LEVELS - 1)
    if spec.kind is ParameterKind.INTEGER:
        start, step = float(round(start)), float(max(1, int(step)))
    else:
        step = spec.step or step
        step = max(step, float(f"{(end - start) / (N_SUGGESTED_LEVELS - 1):.1g}"))
    end = min(high, start + step * (N_SUGGESTED_LEVELS - 1))
    return {"low": _trim(start), "high": _trim(end), "step": _trim(step)}


def _trim(value: float) -> float:
    rounded = round(value, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def _has_range(spec: ParameterSpec) -> bool:
    return spec.kind in (ParameterKind.INTEGER, ParameterKind.NUMBER)


def _values_field(spec: ParameterSpec) -> forms.Field:
    choices = spec.choices or ("true", "false")
    return forms.MultipleChoiceField(
        label="Or try",
        choices=[(choice, choice.replace("_", " ").capitalize()) for choice in choices],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


def _plain(spec: ParameterSpec, value: str) -> Any:
    return value == "true" if spec.kind is ParameterKind.BOOLEAN else value


def _choice(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
