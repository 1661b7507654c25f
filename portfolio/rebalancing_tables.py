"""Tables of the rebalancing pages, as rows of plain values."""

from __future__ import annotations

from typing import Any

from alphastrat.core.formatting import ratio
from alphastrat.core.tables import Column
from portfolio.models import Rebalance
from portfolio.quant.rebalance_policies import Reading, Trigger
from portfolio.services.laboratory import Laboratory
from portfolio.services.portfolio_state import Snapshot

# The page shows these; the allocation page has all.
FURTHEST = 30
TRIGGERS = {
    Trigger.CALENDAR: "Calendar",
    Trigger.BAND: "Weight off its target",
    Trigger.RISK: "Share of risk off",
    Trigger.SHARPE: "Sharpe ratio below target",
    Trigger.VOLATILITY: "Volatility regime changes",
    Trigger.STATUS: "Degraded or suspended strategies",
    Trigger.MANUAL: "By hand",
}


def trigger_label(trigger: str) -> str:
    """Return a trigger's words; itself where it has none."""
    return TRIGGERS[Trigger(trigger)] if trigger in set(Trigger) else trigger


TRIGGER_COLUMNS = (
    Column("label", "Trigger"),
    Column("value", "Now"),
    Column("limit", "Asks at"),
    Column("status", "State", "status"),
    Column("is_on", "Switch"),
)
DRIFT_COLUMNS = (
    Column("name", "Strategy", link="href"),
    Column("weight", "Weight", "percent"),
    Column("target", "Target", "percent"),
    Column("drift", "Drift", "signed_points"),
    Column("equity", "Capital", "money"),
    Column("note", "Note"),
)
HISTORY_COLUMNS = (
    Column("proposed_at", "Proposed", "time", link="get_absolute_url"),
    Column("label", "Trigger"),
    Column("status", "State", "status"),
    Column("turnover", "Turnover", "percent", options={"places": 1}),
    Column("cost", "Cost", "money"),
    Column("reason", "Reason"),
    Column("decided_by", "Decided by"),
    Column("finished_at", "Finished", "time"),
)
TRADE_COLUMNS = (
    Column("sequence", "No.", "count"),
    Column("name", "Strategy"),
    Column("side", "Direction"),
    Column("amount", "Capital", "signed_money"),
    Column("weight_before", "Before", "percent"),
    Column("weight_after", "After", "percent"),
    Column("cost", "Cost", "money"),
    Column("done_at", "Done", "time"),
    Column("note", "Note"),
)
LABORATORY_COLUMNS = (
    Column("name", "Policy"),
    Column("n_rebalances", "Rebalances", "count"),
    Column("turnover", "Turnover a year", "percent", options={"places": 0}),
    Column("cost", "Cost a year", "percent"),
    Column("tracking_error", "Off targets", "percent"),
    Column("annual_return", "Return a year", "signed_percent"),
    Column("volatility", "Volatility", "percent"),
    Column("sharpe", "Sharpe", "signed_ratio"),
    Column("max_drawdown", "Max drawdown", "signed_percent"),
)
FILL_COLUMNS = (
    Column("filled_at", "Filled", "time"),
    Column("account.strategy.name", "Strategy"),
    Column("instrument.symbol", "Instrument"),
    Column("side", "Side", "status"),
    Column("quantity", "Quantity", "price"),
    Column("price", "Price", "price"),
    Column("commission", "Commission", "money"),
)


def trigger_rows(readings: list[Reading]) -> list[dict[str, Any]]:
    return [
        {
            "trigger": reading.trigger,
            "label": TRIGGERS[reading.trigger],
            "value": _written(reading.trigger, reading.value),
            "limit": _asks_at(reading),
            "is_on": reading.is_on,
            "status": "firing" if reading.is_due else "ok" if reading.is_on else "disabled",
        }
        for reading in readings
    ]


def drift_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "name": line.name,
            "href": line.member.strategy.get_absolute_url(),
            "weight": line.weight,
            "target": line.target,
            "drift": line.drift,
            "equity": line.equity,
            "note": _note(line),
        }
        for line in snapshot.lines
    ]
    rows.sort(key=lambda row: -abs(row["drift"]))
    cash, target = float(snapshot.weights[-1]), float(snapshot.targets[-1])
    reserve = {
        "name": "Reserve",
        "href": "",
        "weight": cash,
        "target": target,
        "drift": cash - target,
        "equity": snapshot.portfolio.reserve,
        "note": "",
    }
    return [*rows[:FURTHEST], reserve] if rows else []


def trade_rows(rebalance: Rebalance) -> list[dict[str, Any]]:
    return [
        {
            "sequence": trade.sequence,
            "name": trade.strategy.name,
            "side": "In" if trade.amount > 0 else "Out",
            "amount": trade.amount,
            "weight_before": trade.weight_before,
            "weight_after": trade.weight_after,
            "cost": trade.cost,
            "done_at": trade.done_at,
            "note": trade.note,
        }
        for trade in rebalance.trades.select_related("strategy")
    ]


def laboratory_rows(laboratory: Laboratory) -> list[dict[str, Any]]:
    names = [column.key for column in LABORATORY_COLUMNS]
    return [{name: getattr(one, name) for name in names} for one in laboratory.results]


def _note(line: Any) -> str:
    if line.account is None:
        return "No account yet"
    if line.is_locked:
        return f"Locked up until {line.member.locked_until:%Y-%m-%d}"
    return "" if line.scale == 1.0 else "Target cut: degraded or suspended"


def _asks_at(reading: Reading) -> str:
    if not reading.is_on:
        return ""
    written = _written(reading.trigger, reading.limit)
    if reading.low is None:
        return written
    return f"Outside {_written(reading.trigger, reading.low)} to {written}"


def _written(trigger: Trigger, value: float | None) -> str:
    if value is None:
        return "Not known" if trigger is not Trigger.CALENDAR else ""
    if trigger is Trigger.BAND:
        return f"{value * 100:.2f} points"
    if trigger in (Trigger.RISK, Trigger.VOLATILITY):
        return f"{value * 100:.0f} %"
    return ratio(value).text if trigger is Trigger.SHARPE else f"{value:.0f}"
