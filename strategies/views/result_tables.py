"""Tables of a backtest's page: settings, numbers, months, drawdowns, round trips, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from alphastrat.core.formatting import Formatted, day, format_value, money, percent
from alphastrat.core.tables import Column, metric_url
from alphastrat.core.templatetags.format import directed
from alphastrat.quant.measure_entry import Unit
from alphastrat.quant.measures import MEASURES
from alphastrat.quant.types import FloatArray, IntArray
from strategies.forms import COST_FIELDS, EXIT_FIELDS, SIZING_LABELS
from strategies.models import BacktestRun
from strategies.quant import registry
from strategies.quant.parameters import parameter_specs
from strategies.services.comparison import BY_DAY
from strategies.services.configuration import SIZING_RULES
from strategies.services.results import Results

TRIP_COLUMNS = (
    Column("symbol", "Instrument", sort="symbol"),
    Column("side", "Side", "status", sort="side"),
    Column("entry_time", "Entered", "time", sort="entry_time"),
    Column("exit_time", "Left", "time", sort="exit_time"),
    Column("quantity", "Units", "ratio", sort="quantity"),
    Column("entry_price", "Entry price", "price", sort="entry_price"),
    Column("exit_price", "Exit price", "price", sort="exit_price"),
    Column("pnl", "P&L", "signed_money", sort="pnl"),
    Column("return", "Return", "signed_percent", sort="return"),
    Column("mae", "MAE", "percent", sort="mae"),
    Column("mfe", "MFE", "percent", sort="mfe"),
    Column("commission", "Commission", "money", sort="commission"),
    Column("exit_reason", "Exit", sort="exit_reason"),
)
SHORT = {"symbol", "side", "entry_time", "exit_time", "pnl", "return", "exit_reason"}
TRIP_EXPORTS = tuple(
    Column(name, name)
    for name in (
        "symbol",
        "side",
        "entry_time",
        "exit_time",
        "entry_bar",
        "exit_bar",
        "quantity",
        "entry_price",
        "exit_price",
        "pnl",
        "return",
        "mae",
        "mfe",
        "commission",
        "slippage",
        "borrow",
        "exit_reason",
    )
)
METRIC_COLUMNS = (
    Column("label", "Metric", link="url"),
    Column("strategy", "Strategy", "html"),
    Column("benchmark", "Buy and hold", "html"),
)
DRAWDOWN_COLUMNS = (
    Column("depth", "Depth", "percent"),
    Column("peak_at", "Peak", "day"),
    Column("trough_at", "Trough", "day"),
    Column("recovered", "Recovered"),
    Column("bars", "Bars", "count"),
)
DOCUMENT = (
    "id",
    "title",
    "plugin",
    "parameters",
    "symbols",
    "timeframe",
    "start_at",
    "end_at",
    "capital",
    "currency",
    "costs",
    "exit_rules",
    "sizing",
    "benchmark",
    "engine",
    "seed",
    "status",
    "metrics",
    "findings",
    "agreement",
    "luck",
    "data_fingerprint",
    "code_version",
    "library_versions",
    "requested_at",
    "finished_at",
)
FORMATS = {Unit.FRACTION: "percent", Unit.RATIO: "ratio", Unit.BARS: "bars"}
SIGNED = {
    "total_return",
    "annual_return",
    "max_drawdown",
    "value_at_risk",
    "conditional_value_at_risk",
    "best_bar",
    "worst_bar",
    "alpha",
}
# What the catalogue of measures does not hold: round trips, positions and costs.
OF_TRADES = (
    ("n_round_trips", "Closed round trips", "count"),
    ("win_rate", "Win rate", "percent"),
    ("profit_factor", "Profit factor", "ratio"),
    ("expectancy", "Expectancy per round trip", "signed_money"),
    ("expectancy_return", "Average return of a round trip", "signed_percent"),
    ("payoff_ratio", "Payoff ratio", "ratio"),
    ("average_win", "Average win", "signed_money"),
    ("average_loss", "Average loss", "signed_money"),
    ("best_return", "Best round trip", "signed_percent"),
    ("worst_return", "Worst round trip", "signed_percent"),
    ("average_bars_held", "Average holding time", "bars"),
    ("longest_losing_run", "Losers in a row", "count"),
    ("sqn", "System quality number", "ratio"),
    ("time_in_market", "Time in the market", "percent"),
    ("gross_exposure", "Average exposure", "percent"),
    ("turnover", "Turnover a year", "ratio"),
    ("commission_paid", "Commission paid", "money"),
    ("slippage_paid", "Slippage paid", "money"),
    ("borrow_paid", "Borrow fees paid", "money"),
    ("n_denied", "Entries without cash", "count"),
)
CRISIS_COLUMNS = (
    Column("name", "Crisis"),
    Column("starts_on", "From", "day"),
    Column("ends_on", "To", "day"),
    Column("total_return", "Return", "signed_percent"),
    Column("max_drawdown", "Drawdown", "signed_percent"),
)
HEAT_STEPS = (0.005, 0.02, 0.05)


class Metric(NamedTuple):
    """One metric of a run, and of buying and holding where that has it."""

    label: str
    own: Formatted
    held: Formatted | None = None
    url: str = ""


def settings_of(run: BacktestRun) -> list[tuple[str, str]]:
    """Return what a run was asked to do, in words."""
    if run.engine == BacktestRun.Engine.IMPORTED:
        return _imported_settings(run)
    plugin = registry.find(run.plugin)
    rows = [
        ("Strategy type", plugin.label if plugin else f"{run.plugin}, not installed any more"),
        ("Version", str(run.strategy_version) if run.strategy_version else "None: tried out"),
        ("Instruments", _some(run.symbols)),
        ("Timeframe", run.timeframe),
        ("Period", period_of(run)),
        ("Capital", money(run.capital, run.currency, 0).text),
        ("Position size", sizing_words(run.sizing)),
    ]
    specs = {spec.name: spec for spec in parameter_specs(plugin)} if plugin else {}
    rows += [
        (specs[name].label, f"{_plain(value)} {specs[name].unit}".strip())
        if name in specs
        else (name, _plain(value))
        for name, value in _ordered(run.parameters, specs)
    ]
    rows += [*exit_rows(run.exit_rules), *_given(COST_FIELDS, run.costs)]
    if not any(run.costs.values()):
        rows.append(("Costs", "None"))
    rows.append(("Engine", run.get_engine_display()))
    return rows


def exit_rows(exit_rules: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the exit rules that do something, in words."""
    return _given(EXIT_FIELDS, exit_rules)


def trip_columns(run: BacktestRun, *, is_short: bool = False) -> tuple[Column, ...]:
    """Return the columns of round trips; a fill within a bar of a day or more has no hour."""
    by_day = run.timeframe in BY_DAY
    columns = (
        replace(column, format="day") if by_day and column.format == "time" else column
        for column in TRIP_COLUMNS
    )
    if is_short:
        return tuple(replace(column, sort="") for column in columns if column.key in SHORT)
    return tuple(columns)


def period_of(run: BacktestRun) -> str:
    """Return the first and last day of a run."""
    return f"{day(run.start_at)} to {day(run.end_at - timedelta(days=1))}"


def provenance_of(run: BacktestRun) -> list[tuple[str, str]]:
    """Return what is needed to compute the same run again, or where it was computed."""
    if run.engine == BacktestRun.Engine.IMPORTED:
        origin = run.metrics.get("import", {})
        return [
            ("Run", str(run.pk)),
            ("Written by", origin.get("source", "")),
            ("File", origin.get("file_name", "")),
            ("SHA-256", origin.get("sha256", "")),
            ("Bars a year", f"{run.periods_per_year:g}" if run.periods_per_year else ""),
        ]
    libraries = ", ".join(f"{name} {version}" for name, version in run.library_versions.items())
    return [
        ("Run", str(run.pk)),
        ("Bars", run.data_fingerprint[:16]),
        ("Code", run.code_version),
        ("Libraries", libraries),
        ("Seed", str(run.seed)),
        ("Bars a year", f"{run.periods_per_year:g}" if run.periods_per_year else ""),
    ]


def metric_rows(results: Results) -> list[dict[str, Any]]:
    """Return every metric of a run beside the benchmark's, as cells of a page."""
    return [
        {
            "label": metric.label,
            "url": metric.url,
            "strategy": directed(metric.own),
            "benchmark": "" if metric.held is None else directed(metric.held),
        }
        for metric in metrics_of(results)
    ]


def metrics_of(results: Results) -> list[Metric]:
    """Return every metric of a run beside the benchmark's, ready to print."""
    metrics = []
    for key, entry in MEASURES.items():
        if key not in results.numbers:
            continue
        name = FORMATS[entry.unit]
        name = f"signed_{name}" if key in SIGNED else name
        own, held = (
            format_value(name, numbers.get(key))
            for numbers in (results.numbers, results.benchmark_numbers)
        )
        metrics.append(Metric(entry.label, own, held, metric_url(key)))
    for key, label, name in OF_TRADES:
        metrics.append(Metric(label, format_value(name, results.numbers.get(key))))
    return metrics


def drawdown_rows(run: BacktestRun) -> list[dict[str, Any]]:
    """Return the worst drawdowns with their dates."""
    rows = []
    for episode in run.metrics.get("worst_drawdowns", []):
        recovered = episode["recovered_at"]
        rows.append(
            {
                **episode,
                "peak_at": datetime.fromisoformat(episode["peak_at"]),
                "trough_at": datetime.fromisoformat(episode["trough_at"]),
                "recovered": day(datetime.fromisoformat(recovered)) if recovered else "Not yet",
            }
        )
    return rows


def crisis_rows(run: BacktestRun) -> list[dict[str, Any]]:
    return [
        {
            "name": crisis["window"]["name"],
            "starts_on": date.fromisoformat(crisis["window"]["starts_on"]),
            "ends_on": date.fromisoformat(crisis["window"]["ends_on"]),
            "total_return": crisis["total_return"],
            "max_drawdown": crisis["max_drawdown"],
        }
        for crisis in (run.luck or {}).get("crises", [])
    ]


def heat_rows(years: IntArray, table: FloatArray) -> list[dict[str, Any]]:
    """Return the months of every year with the depth of their tint, newest year first."""
    return [
        {"year": int(year), "cells": [_heat(value) for value in row]}
        for year, row in zip(years[::-1], table[::-1], strict=True)
    ]


def group_columns(key: str, label: str) -> tuple[Column, ...]:
    return (
        Column(key, label),
        Column("n_trades", "Trades", "count"),
        Column("win_rate", "Win rate", "percent", options={"places": 1}),
        Column("average_return", "Average", "signed_percent"),
        Column("pnl", "P&L", "signed_money", options={"places": 0}),
    )


def _imported_settings(run: BacktestRun) -> list[tuple[str, str]]:
    origin = run.metrics.get("import", {})
    return [
        ("Written by", origin.get("source", "")),
        ("Name in the file", origin.get("name", "") or "None"),
        ("Instruments", _some(run.symbols) or "Not said"),
        ("Timeframe", run.timeframe),
        ("Period", period_of(run)),
        ("Capital", money(run.capital, origin.get("account_currency") or run.currency, 0).text),
        ("Costs", "As the other tool charged them"),
        ("Engine", run.get_engine_display()),
    ]


def _heat(value: float) -> dict[str, Any]:
    if not np.isfinite(value):
        return {"text": "", "level": ""}
    steps = sum(abs(value) >= step for step in HEAT_STEPS)
    return {"text": percent(value, 1).text, "level": f"{'-' if value < 0 else ''}{steps}"}


def sizing_words(sizing: Mapping[str, Any]) -> str:
    """Return a rule of position size in words."""
    rule = SIZING_RULES[sizing.get("kind", "equal_share")]
    values = {**rule.defaults, **{k: v for k, v in sizing.items() if k != "kind"}}
    parts = [
        _with_unit(value, SIZING_LABELS.get(name, ("", "", False))[1])
        for name, value in values.items()
    ]
    return f"{rule.label}: {', '.join(parts)}" if parts else rule.label


def _given(fields: Sequence[Any], values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (label, _with_unit(values[name], unit))
        for name, label, unit, _ in fields
        if values.get(name)
    ]


def _ordered(values: Mapping[str, Any], specs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return parameters in the order of their declaration, which JSON columns forget."""
    places = {name: place for place, name in enumerate(specs)}
    return sorted(values.items(), key=lambda item: places.get(item[0], len(places)))


def _with_unit(value: Any, unit: str) -> str:
    if unit == "%":
        return percent(value).text
    return f"{_plain(value)} {unit}".strip()


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _some(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:12])
    return shown if len(symbols) <= 12 else f"{shown} and {len(symbols) - 12} more"
