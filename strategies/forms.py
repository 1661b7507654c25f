"""Forms of research; what a plug-in needs is asked for by its own parameter declarations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from django import forms
from django.http import QueryDict

from alphastrat.core.errors import AlphaStratError
from alphastrat.marketdata.models import Instrument
from alphastrat.quant.types import Timeframe
from strategies.models import BacktestRun, RunStatus
from strategies.models.backtest import BacktestRunQuerySet
from strategies.quant import registry
from strategies.quant.parameters import ParameterKind, ParameterSpec, parameter_specs
from strategies.services.configuration import SIZING_RULES
from strategies.services.specification import NO_BENCHMARK, UNIVERSE, Plan, Specification, check

ALL_SYMBOLS = "*"
SIZING_LABELS = {
    "fraction": ("Fraction of equity", "%", True),
    "amount": ("Cash per position", "", False),
    "quantity": ("Units per position", "", False),
    "target": ("Volatility per year", "%", True),
    "excess_return": ("Believed excess return per year", "%", True),
    "multiple": ("Share of the Kelly fraction", "", False),
}
COST_FIELDS = (
    ("commission_bps", "Commission", "bp", "Of the value of each fill."),
    ("commission_per_share", "Commission per unit", "", "In account currency."),
    ("commission_minimum", "Least commission", "", "Per fill, in account currency."),
    ("slippage_bps", "Slippage", "bp", "Against every market order."),
    ("slippage_volatility", "Slippage by volatility", "σ", "A multiple of one bar's deviation."),
    ("borrow_bps_per_year", "Borrow fee", "bp a year", "Of the value of short positions."),
)
EXIT_FIELDS = (
    ("stop_loss", "Stop-loss", "%", "Below the entry price."),
    ("take_profit", "Take-profit", "%", "Above the entry price."),
    ("trailing_stop", "Trailing stop", "%", "Below the highest high since entry."),
    ("max_bars", "Longest holding time", "bars", "Leaves at the open after that many closes."),
    ("cooldown_bars", "Pause after a stop", "bars", "Opens at which the instrument is left alone."),
)


class PercentField(forms.FloatField):
    """A fraction above zero that people write in percent."""

    def __init__(self, *, below: float = math.inf, **options: Any) -> None:
        super().__init__(**options)
        self.below = below

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]
        number = super().to_python(value)
        if number is None:
            return None
        if not 0 < number < self.below:
            limit = f" and below {self.below:g}" if math.isfinite(self.below) else ""
            raise forms.ValidationError(f"Choose a value above 0{limit} %.")
        return round(number / 100.0, 10)

    def prepare_value(self, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return round(value * 100.0, 8) if is_number else value


class ConfigurationForm(forms.Form):
    """What strategies and backtests share: plug-in, parameters, universe, exits and sizing.

    Names with a double underscore are the dotted names that services report problems under.
    """

    plugin = forms.ChoiceField(label="Strategy type")
    shown_plugin = forms.CharField(widget=forms.HiddenInput, required=False)
    symbols = forms.CharField(
        label="Instruments",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocapitalize": "off"}),
        help_text="Symbols separated by commas or blanks; * takes every instrument.",
    )
    timeframe = forms.ChoiceField(
        choices=[(timeframe.value, timeframe.value) for timeframe in Timeframe],
        initial=Timeframe.DAY_1.value,
    )
    sizing__kind = forms.ChoiceField(
        label="Position size",
        choices=[(rule.key, rule.label) for rule in SIZING_RULES.values()],
        initial="equal_share",
    )

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        plugins = [(key, registry.plugin(key).label) for key in registry.plugin_keys()]
        self.fields["plugin"].choices = plugins  # type: ignore[attr-defined]
        chosen = self._chosen("plugin", plugins[0][0])
        found = registry.find(chosen)
        self.missing_plugin = "" if found else chosen
        self.plugin_class = found or registry.plugin(plugins[0][0])
        self.initial = {**self.initial, "shown_plugin": self.plugin_class.key}
        for spec in parameter_specs(self.plugin_class):
            self.fields[f"parameters__{spec.name}"] = parameter_field(spec)
        self._add_exits()
        self._add_sizing()
        if self.is_bound:
            self.data = self._completed()

    @property
    def parameter_fields(self) -> Iterator[tuple[forms.BoundField, str]]:
        for spec in parameter_specs(self.plugin_class):
            yield self[f"parameters__{spec.name}"], spec.unit

    @property
    def exit_fields(self) -> Iterator[tuple[forms.BoundField, str]]:
        for name, _, unit, _ in EXIT_FIELDS:
            yield self[f"exit_rules__{name}"], unit

    @property
    def has_exits(self) -> bool:
        """Whether a stop is set or wrong, so that the page opens that part."""
        names = [f"exit_rules__{name}" for name, *_ in EXIT_FIELDS]
        return any(self[name].value() not in (None, "") or self[name].errors for name in names)

    @property
    def sizing_fields(self) -> Iterator[tuple[forms.BoundField, str]]:
        for name in self.sizing_rule.defaults:
            yield self[f"sizing__{name}"], SIZING_LABELS[name][1]

    def cleaned_part(self, part: str) -> dict[str, Any]:
        """Return the cleaned values under a dotted prefix, without those left empty."""
        prefix = f"{part}__"
        return {
            name.removeprefix(prefix): value
            for name, value in self.cleaned_data.items()
            if name.startswith(prefix) and value not in (None, "")
        }

    def clean_symbols(self) -> list[str]:
        text = self.cleaned_data["symbols"]
        if text.strip() == ALL_SYMBOLS:
            return list(
                Instrument.objects.filter(
                    is_active=True, series__timeframe=self.data.get("timeframe", "1d")
                )
                .distinct()
                .values_list("symbol", flat=True)
            )
        return [symbol for symbol in re.split(r"[\s,;]+", text) if symbol]

    def report(self, error: AlphaStratError) -> None:
        """Show a service's problem at the fields that it names."""
        shown = False
        for name, reason in error.fields.items():
            field = name.replace(".", "__")
            if field in self.fields:
                if field not in self.errors:
                    self.add_error(field, reason)
                shown = True
        if not shown:
            reasons = "; ".join(error.fields.values())
            self.add_error(None, f"{error} {reasons}".strip())

    def excuse_unfinished(self) -> None:
        """Say nothing yet of fields that start empty and still are: the form is a draft."""
        for name, found in self.errors.as_data().items():
            is_missing = all(error.code == "required" for error in found)
            if is_missing and name in self.fields and self.fields[name].initial is None:
                del self.errors[name]

    def _chosen(self, name: str, default: str) -> str:
        if self.is_bound:
            return str(self.data.get(name) or default)
        return str(self.initial.get(name) or default)

    def _add_exits(self) -> None:
        for name, label, unit, text in EXIT_FIELDS:
            options: dict[str, Any] = {"label": label, "help_text": text, "required": False}
            if unit == "%":
                below = math.inf if name == "take_profit" else 100
                self.fields[f"exit_rules__{name}"] = PercentField(below=below, **options)
            else:
                least = 1 if name == "max_bars" else 0
                self.fields[f"exit_rules__{name}"] = forms.IntegerField(min_value=least, **options)

    def _add_sizing(self) -> None:
        kind = self._chosen("sizing__kind", "equal_share")
        self.sizing_rule = SIZING_RULES.get(kind, SIZING_RULES["equal_share"])
        for name, default in self.sizing_rule.defaults.items():
            label, _, is_percent = SIZING_LABELS[name]
            field = PercentField if is_percent else forms.FloatField
            self.fields[f"sizing__{name}"] = field(label=label, initial=default)

    def _completed(self) -> QueryDict:
        """Give parameters that were not sent their defaults, all of them for another plug-in."""
        data = QueryDict(mutable=True)
        data.update(self.data)  # type: ignore[arg-type]
        is_other = data.get("shown_plugin", self.plugin_class.key) != self.plugin_class.key
        data["shown_plugin"] = self.plugin_class.key
        for name, field in self.fields.items():
            is_parameter = name.startswith("parameters__")
            is_absent = name not in data and not isinstance(field, forms.BooleanField)
            if (is_parameter and is_other) or (is_absent and field.initial is not None):
                value = field.prepare_value(field.initial)
                data[name] = "" if value is False else str(value)
        return data


class BacktestForm(ConfigurationForm):
    """Everything a backtest needs; a valid form carries its `plan`."""

    strategy = forms.UUIDField(widget=forms.HiddenInput, required=False)
    start = forms.DateField(
        label="From", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    end = forms.DateField(
        label="To", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    capital = forms.DecimalField(label="Capital", initial=100_000, max_digits=18)
    benchmark = forms.CharField(
        label="Benchmark",
        initial=UNIVERSE,
        max_length=40,
        help_text=f"A symbol, “{UNIVERSE}” to buy and hold the same instruments, or “none”.",
    )
    engine = forms.ChoiceField(
        choices=[
            (BacktestRun.Engine.SIMULATOR, "Simulator"),
            (BacktestRun.Engine.VECTORBT, "vectorbt"),
        ],
        initial=BacktestRun.Engine.SIMULATOR.value,
        help_text="Every run is checked by the other one.",
    )

    plan: Plan | None = None

    @property
    def cost_fields(self) -> Iterator[tuple[forms.BoundField, str]]:
        for name, _, unit, _ in COST_FIELDS:
            yield self[f"costs__{name}"], unit

    def _add_exits(self) -> None:
        super()._add_exits()
        for name, label, _, text in COST_FIELDS:
            self.fields[f"costs__{name}"] = forms.FloatField(
                label=label, help_text=text, initial=0, min_value=0
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not {"plugin", "symbols", "start", "end", "capital", "timeframe"} <= set(cleaned):
            return cleaned
        try:
            self.plan = check(self.specification())
        except AlphaStratError as error:
            self.report(error)
        return cleaned

    def specification(self) -> Specification:
        """Return what was asked for, unchecked."""
        cleaned = self.cleaned_data
        return Specification(
            plugin=cleaned["plugin"],
            parameters=self.cleaned_part("parameters"),
            symbols=cleaned["symbols"],
            timeframe=cleaned["timeframe"],
            start=cleaned["start"],
            end=cleaned["end"],
            capital=cleaned["capital"],
            costs=self.cleaned_part("costs"),
            exit_rules=self.cleaned_part("exit_rules"),
            sizing=self.cleaned_part("sizing"),
            benchmark=cleaned.get("benchmark") or UNIVERSE,
            engine=cleaned.get("engine") or BacktestRun.Engine.SIMULATOR,
        )


class RunFilter(forms.Form):
    """Choose backtests by state, strategy type and words."""

    status = forms.ChoiceField(
        label="State", choices=[("", "Any"), *RunStatus.choices], required=False
    )
    plugin = forms.ChoiceField(label="Strategy type", required=False)
    q = forms.CharField(label="Title or symbol", required=False, max_length=100)
    bars = forms.ChoiceField(choices=[("", "Any"), ("restated", "Restated since")], required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known = [(key, registry.plugin(key).label) for key in registry.plugin_keys()]
        self.fields["plugin"].choices = [  # type: ignore[attr-defined]
            ("", "Any"),
            *known,
            ("imported", "Imported result"),
        ]

    def apply(self, runs: BacktestRunQuerySet) -> BacktestRunQuerySet:
        """Return the runs that match; a filter that makes no sense is left out."""
        if not self.is_valid():
            return runs
        wanted = self.cleaned_data
        if wanted["status"]:
            runs = runs.filter(status=wanted["status"])
        if wanted["plugin"]:
            runs = runs.filter(plugin=wanted["plugin"])
        if wanted["q"]:
            by_symbol = runs.filter(symbols__contains=[wanted["q"].upper()])
            runs = runs.filter(title__icontains=wanted["q"]) | by_symbol
        return runs.on_restated_bars() if wanted["bars"] else runs


def initial_of(specification: Specification) -> dict[str, Any]:
    """Return the initial values of a form that repeats a specification."""
    initial: dict[str, Any] = {
        "plugin": specification.plugin,
        "symbols": ", ".join(specification.symbols),
        "timeframe": specification.timeframe,
        "start": specification.start,
        "end": specification.end,
        "capital": f"{specification.capital.normalize():f}",
        "benchmark": specification.benchmark or NO_BENCHMARK,
        "engine": specification.engine,
    }
    parts: dict[str, Mapping[str, Any]] = {
        "parameters": specification.parameters,
        "costs": specification.costs,
        "exit_rules": specification.exit_rules,
        "sizing": specification.sizing,
    }
    for part, values in parts.items():
        initial |= {f"{part}__{name}": value for name, value in values.items()}
    return initial


def parameter_field(spec: ParameterSpec) -> forms.Field:
    """Return the form field of a plug-in's parameter."""
    options: dict[str, Any] = {
        "label": spec.label,
        "initial": spec.default,
        "help_text": _parameter_help(spec),
        "required": spec.kind is not ParameterKind.BOOLEAN,
    }
    if spec.kind is ParameterKind.BOOLEAN:
        return forms.BooleanField(**options)
    if spec.kind is ParameterKind.CHOICE:
        options["initial"] = str(spec.default)
        return forms.ChoiceField(
            choices=[(choice, choice.replace("_", " ").capitalize()) for choice in spec.choices],
            **options,
        )
    limits: dict[str, Any] = {"min_value": spec.low, "max_value": spec.high}
    if spec.kind is ParameterKind.INTEGER:
        return forms.IntegerField(**limits, **options)
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(widget=widget, **limits, **options)


def _parameter_help(spec: ParameterSpec) -> str:
    if spec.low is None or spec.high is None:
        return spec.help
    return f"{spec.help} {spec.low:g} to {spec.high:g}.".strip()


def default_period(first: date | None, last: date | None) -> tuple[date, date]:
    """Return the longest period worth suggesting: up to five years before the last bar."""
    end = last or date(2018, 2, 7)
    start = end.replace(year=end.year - 5, day=min(end.day, 28))
    return max(start, first) if first else start, end
