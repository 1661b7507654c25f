"""Look-ahead, warm-up and determinism of a strategy, checked on its own bars."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from alphastrat.core import live
from alphastrat.core.errors import InvalidInput
from alphastrat.core.jobs import enqueue
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from strategies.models import Strategy, StrategyCheck, StrategyVersion
from strategies.quant import checks, registry
from strategies.quant.panel import Panel
from strategies.services import market

TASK = "strategies.signal_tasks.check_strategy"
# Enough for every cut of the checks, and a few seconds at most.
MAX_SYMBOLS, MAX_BARS = 20, 3_000
# Fewer cannot be cut.
LEAST_BARS = 4

Report = Callable[[int, str], None]


def request_checks(strategy: Strategy) -> Job:
    """Ask a worker to run every check on the strategy's current version."""
    version = strategy.current_version
    if version is None:
        raise InvalidInput("This strategy has no version yet.")
    return enqueue(
        TASK,
        key=f"checks:{version.pk}",
        title=f"Check {version}",
        owner=strategy.owner,
        result_url=strategy.get_absolute_url() + "#checks",
        version_id=str(version.pk),
    )


def run_checks(version_id: str, *, report: Report, at: datetime) -> list[dict[str, Any]]:
    """Run every check on a version and store what was found."""
    version = StrategyVersion.objects.select_related("strategy").get(pk=version_id)
    found = []
    for done, name in enumerate(checks.CheckName):
        report(done, f"Checking {name}")
        result = run_check(version, name)
        StrategyCheck.objects.update_or_create(
            version=version,
            name=name,
            defaults={
                "passed": result.passed,
                "message": result.message,
                "difference": jsonable(result.difference),
                "reproduction": result.reproduction,
                "checked_at": at,
            },
        )
        found.append(jsonable(result))
    live.publish(f"strategy:{version.strategy_id}", "invalidate", {"fragment": "strategy"})
    return found


def run_check(version: StrategyVersion, name: checks.CheckName) -> checks.CheckResult:
    """Run one check on the newest bars of a version's instruments.

    Raises InvalidInput if the plug-in refuses the bars or there are too few of them.
    """
    try:
        plugin = registry.build(version.plugin, version.parameters)
        symbols = version.symbols[: _n_symbols(plugin)]
        panel = market.load_panel(symbols, version.timeframe)
        return checks.run_check(name, plugin, _newest(panel, plugin))
    except ValueError as error:
        raise InvalidInput(f"The check cannot be made: {error}.") from error


def suspicions(plugin: Any, history: Panel) -> list[checks.CheckResult]:
    """Return the look-ahead and determinism checks of a plug-in on bars that it was run on."""
    if history.n_bars < LEAST_BARS:
        return []
    symbols = history.symbols[: _n_symbols(plugin)]
    panel = Panel.from_frames({symbol: history.bars(symbol) for symbol in symbols})
    names = (checks.CheckName.LOOKAHEAD, checks.CheckName.DETERMINISM)
    return [checks.run_check(name, plugin, _newest(panel, plugin)) for name in names]


def _n_symbols(plugin: Any) -> int:
    return MAX_SYMBOLS if registry.is_panel_plugin(plugin) else 1


def _newest(panel: Panel, plugin: Any) -> Panel:
    n_rows = min(panel.n_bars, max(MAX_BARS, 3 * plugin.warmup_bars))
    return panel.window(panel.n_bars - n_rows, panel.n_bars)
