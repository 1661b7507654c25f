"""Tables of a strategy's page: parameters, versions and what changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import reverse

from alphastrat.core.tables import Column
from strategies.models import Strategy, StrategyVersion
from strategies.quant import registry
from strategies.quant.parameters import MAX_FREE_PARAMETERS, free_parameters, parameter_specs

EXPORTS = tuple(
    Column(name, name)
    for name in (
        "id",
        "name",
        "plugin",
        "parameters",
        "timeframe",
        "state",
        "current_version.number",
        "current_version.symbols",
        "latest_total_return",
        "latest_sharpe_ratio",
        "latest_max_drawdown",
        "latest_total_trades",
        "created_at",
        "updated_at",
    )
)
PARAMETER_COLUMNS = (
    Column("label", "Parameter"),
    Column("value", "Value"),
    Column("unit", "Unit"),
    Column("default", "Default"),
    Column("range", "Range"),
    Column("free", "Optimised"),
    Column("help", "Meaning"),
)
VERSION_COLUMNS = (
    Column("number", "Version", "count"),
    Column("changes", "What changed"),
    Column("reason", "Reason"),
    Column("n_runs", "Backtests", "count"),
    Column("total_return", "Return", "signed_percent", link="run_url"),
    Column("sharpe_ratio", "Sharpe", "signed_ratio"),
    Column("max_drawdown", "Drawdown", "signed_percent"),
    Column("author", "By"),
    Column("created_at", "When", "time"),
)
BACKTEST_COLUMN = Column("backtest", "Run", link="backtest_url")
VERSION_EXPORTS = tuple(
    Column(name, name)
    for name in (
        "number",
        "plugin",
        "parameters",
        "symbols",
        "timeframe",
        "exit_rules",
        "sizing",
        "reason",
        "created_by.username",
        "created_at",
    )
)
COMPARED = ("plugin", "timeframe", "symbols", "parameters", "exit_rules", "sizing")


def tables_of(strategy: Strategy) -> dict[str, Any]:
    """Return what the tables of parameters and versions show."""
    plugin = registry.find(strategy.plugin)
    versions = StrategyVersion.objects.filter(strategy=strategy).select_related("created_by")
    return {
        "version": strategy.current_version,
        "complexity": complexity_words(plugin) if plugin is not None else "",
        "parameters": parameter_rows(plugin, strategy.parameters),
        "parameter_columns": PARAMETER_COLUMNS,
        "versions": version_rows(list(versions.with_results())),
        "version_columns": VERSION_COLUMNS,
    }


def parameter_rows(plugin: type[Any] | None, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of a strategy type with their ranges and meanings.

    Of a type that is not installed any more only names and values are known.
    """
    if plugin is None:
        return [{"label": name, "value": _plain(value)} for name, value in values.items()]
    return [
        {
            "label": spec.label,
            "value": _plain(values.get(spec.name, spec.default)),
            "unit": spec.unit,
            "default": _plain(spec.default),
            "range": _range(spec),
            "free": "Yes" if spec.is_free else "No",
            "help": spec.help,
        }
        for spec in parameter_specs(plugin)
    ]


def version_rows(versions: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the versions, newest first, each with what it changed and earned.

    `versions` come from `with_results`.
    """
    older = [*versions[1:], None]
    new_url = reverse("strategies:backtest-new")
    return [
        {
            "number": version.number,
            "changes": changes_between(before, version),
            "reason": version.reason,
            "n_runs": version.n_runs or 0,
            "run_url": reverse("strategies:backtest-detail", args=[version.latest_run])
            if version.latest_run
            else "",
            "total_return": version.latest_total_return,
            "sharpe_ratio": version.latest_sharpe_ratio,
            "max_drawdown": version.latest_max_drawdown,
            "author": version.created_by.get_username(),
            "created_at": version.created_at,
            "backtest": "Backtest",
            "backtest_url": f"{new_url}?strategy={version.strategy_id}&version={version.number}",
        }
        for version, before in zip(versions, older, strict=True)
    ]


def changes_between(before: StrategyVersion | None, after: StrategyVersion) -> str:
    """Say in words what one version changed of the one before it."""
    if before is None:
        return "First version"
    said: list[str] = []
    for name in COMPARED:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, dict):
            said += [
                f"{key} {_plain(old.get(key))} → {_plain(new.get(key))}"
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        elif isinstance(new, list):
            said += [f"+{symbol}" for symbol in new if symbol not in old]
            said += [f"−{symbol}" for symbol in old if symbol not in new]
        elif old != new:
            said.append(f"{name} {old} → {new}")
    return ", ".join(said) or "Nothing"


def complexity_words(plugin: type[Any]) -> str:
    """Say how many of the allowed free parameters a strategy type uses."""
    n_free = len(free_parameters(plugin))
    words = f"{n_free} of at most {MAX_FREE_PARAMETERS} free parameters"
    if n_free > MAX_FREE_PARAMETERS:
        return f"{words}: {plugin.parameter_override_reason}"
    return words


def _range(spec: Any) -> str:
    if spec.choices:
        return ", ".join(spec.choices)
    return "" if spec.low is None or spec.high is None else f"{spec.low:g} to {spec.high:g}"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
