"""Tables of the risk page, as rows of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alphastrat.core.formatting import day
from alphastrat.core.tables import Column
from portfolio.models import (
    Account,
    Order,
    Portfolio,
    RiskAction,
    StrategyStanding,
    TradingState,
)
from portfolio.quant.exposure import Exposure
from portfolio.quant.limit_catalogue import written
from portfolio.quant.value_at_risk import VarMethod
from portfolio.services.risk_metrics import BacktestRow, LimitUse, TailRow, TailView

LARGEST = 12
METHODS = {
    VarMethod.HISTORICAL: "Historical",
    VarMethod.NORMAL: "Normal",
    VarMethod.CORNISH_FISHER: "Cornish-Fisher",
    VarMethod.MONTE_CARLO: "Monte Carlo, block bootstrap",
}
LIMIT_COLUMNS = (
    Column("label", "Limit"),
    Column("now", "Now"),
    Column("bound", "At most"),
    Column("used", "Used", "percent", options={"places": 0}),
    Column("status", "State", "status"),
    Column("where", "Where"),
)
TAIL_COLUMNS = (
    Column("method", "Method"),
    Column("var_95", "VaR 95 %", "signed_percent"),
    Column("es_95", "CVaR 95 %", "signed_percent"),
    Column("var_99", "VaR 99 %", "signed_percent"),
    Column("es_99", "CVaR 99 %", "signed_percent"),
    Column("var_99_10", "VaR 99 %, 10 days", "signed_percent"),
    Column("es_99_10", "CVaR 99 %, 10 days", "signed_percent"),
    Column("note", "Note"),
)
BETA_EXPORTS = tuple(
    Column(name, name)
    for name in (
        "benchmark",
        "method",
        "window",
        "n_days",
        "first_day",
        "last_day",
        "beta",
        "low",
        "high",
        "correlation",
        "reason",
    )
)
BACKTEST_COLUMNS = (
    Column("method", "Method"),
    Column("confidence", "Confidence", "percent", options={"places": 0}),
    Column("n_bars", "Days", "count"),
    Column("expected", "Promised", "ratio", options={"places": 1}),
    Column("n_exceptions", "Broken", "count"),
    Column("kupiec", "Kupiec p", "ratio", options={"places": 3}),
    Column("independence", "Christoffersen p", "ratio", options={"places": 3}),
    Column("conditional", "Both p", "ratio", options={"places": 3}),
    Column("zone", "Basel zone"),
    Column("verdict", "Verdict", "status"),
)
EXPOSURE_COLUMNS = (
    Column("name", "Name"),
    Column("gross", "Gross", "percent"),
    Column("net", "Net", "signed_percent"),
)
CONTRIBUTION_COLUMNS = (
    Column("name", "Strategy"),
    Column("weight", "Weight", "percent"),
    Column("share", "Share of risk", "signed_percent"),
    Column("shortfall", "Part of CVaR 97.5 %", "signed_percent"),
    Column("source", "History"),
)
STRESS_COLUMNS = (
    Column("name", "Window"),
    Column("period", "From and to"),
    Column("value", "Return", "signed_percent"),
    Column("drawdown", "Deepest", "signed_percent"),
    Column("covered", "Covered", "percent", options={"places": 0}),
    Column("worst", "Worst strategy"),
)
DENIAL_COLUMNS = (
    Column("at", "When", "time"),
    Column("strategy", "Strategy"),
    Column("order", "Order"),
    Column("why", "Why"),
    Column("codes", "Codes"),
)
ACTION_COLUMNS = (
    Column("at", "When", "time"),
    Column("subject", "What"),
    Column("state", "State", "status"),
    Column("protection", "Stops and targets"),
    Column("code", "Because of", "code"),
    Column("by", "By"),
    Column("reason", "Reason"),
)


def limit_rows(limits: list[LimitUse]) -> list[dict[str, Any]]:
    return [
        {
            "limit": use.spec.name,
            "label": use.spec.label,
            "now": None if use.value is None else written(use.value, use.spec.unit),
            "bound": written(use.bound, use.spec.unit),
            "used": use.used,
            "status": use.status,
            "where": use.where,
        }
        for use in limits
    ]


def tail_rows(rows: list[TailRow]) -> list[dict[str, Any]]:
    """Return one row per method, confidences and horizons side by side."""
    found: dict[VarMethod, dict[str, Any]] = {}
    for row in rows:
        line = found.setdefault(row.method, {"method": METHODS[row.method], "note": ""})
        suffix = f"{row.confidence * 100:.0f}" + ("" if row.horizon == 1 else f"_{row.horizon}")
        line[f"var_{suffix}"] = row.risk.value_at_risk
        line[f"es_{suffix}"] = row.risk.expected_shortfall
        if not row.risk.is_valid:
            line["note"] = "Too skewed for the expansion."
    return list(found.values())


def backtest_rows(rows: list[BacktestRow]) -> list[dict[str, Any]]:
    return [
        {
            "method": METHODS[row.method],
            "confidence": row.confidence,
            "n_bars": row.coverage.n_bars,
            "expected": row.coverage.expected,
            "n_exceptions": row.coverage.n_exceptions,
            "kupiec": row.coverage.unconditional.p_value,
            "independence": row.coverage.independence.p_value,
            "conditional": row.coverage.conditional.p_value,
            "zone": row.coverage.zone.title(),
            "verdict": _verdict(row),
        }
        for row in rows
    ]


def _verdict(row: BacktestRow) -> str:
    """Judge by the worst test; one that cannot be made fails nothing."""
    tests = (row.coverage.unconditional, row.coverage.independence, row.coverage.conditional)
    worst = min((one.p_value for one in tests if np.isfinite(one.p_value)), default=1.0)
    return "fail" if worst < 0.01 else "warn" if worst < 0.05 else "pass"


def exposure_rows(groups: Mapping[str, Exposure]) -> list[dict[str, Any]]:
    """Return the largest groups, and what the others come to together."""
    rows: list[dict[str, Any]] = [
        {"name": name, "gross": one.gross, "net": one.net} for name, one in groups.items()
    ]
    shown, rest = rows[:LARGEST], rows[LARGEST:]
    if rest:
        together = {key: sum(float(row[key]) for row in rest) for key in ("gross", "net")}
        shown.append({"name": f"{len(rest)} others", **together})
    return shown


def contribution_rows(tail: TailView, names: list[str]) -> list[dict[str, Any]]:
    rows = [
        {
            "name": name,
            "weight": float(weight),
            "share": float(share),
            "shortfall": float(part),
            "source": source,
        }
        for name, weight, share, part, source in zip(
            names, tail.weights, tail.shares, tail.shortfalls, tail.returns.sources, strict=True
        )
    ]
    return sorted(rows, key=lambda row: -row["share"] if np.isfinite(row["share"]) else 0.0)


def stress_rows(tail: TailView, names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for one in tail.windows:
        known = np.isfinite(one.by_strategy)
        worst = names[int(np.nanargmin(one.by_strategy))] if known.any() else ""
        rows.append(
            {
                "name": one.window.name,
                "period": f"{day(one.window.starts_on)} – {day(one.window.ends_on)}",
                "value": one.portfolio_return,
                "drawdown": one.max_drawdown,
                "covered": one.covered,
                "worst": worst,
            }
        )
    return rows


def denial_rows(orders: list[Order]) -> list[dict[str, Any]]:
    return [
        {
            "at": order.decided_at,
            "strategy": order.account.strategy.name,
            "order": f"{order.get_side_display()} {order.instrument.symbol}",
            "codes": ", ".join(one.get("code", "") for one in order.denials),
            "why": " ".join(one.get("message", "") for one in order.denials),
        }
        for order in orders
    ]


def protection_words(halted: Portfolio | StrategyStanding) -> str:
    """Say what a halt does with the stops and targets of what is held; empty without a halt."""
    if halted.trading_state != TradingState.HALTED:
        return ""
    if halted.keeps_protection:
        return "Stops and targets of what is held still act."
    return "Stops and targets are cancelled too: what is held is unprotected."


def stopped_rows(stopped: list[tuple[Account, StrategyStanding]]) -> list[dict[str, Any]]:
    """Return the strategies that may not trade freely, for the banners of the page."""
    return [
        {
            "title": f"{account.strategy.name}: {row.get_trading_state_display()}",
            "detail": f"{row.reason} {protection_words(row)}".strip(),
            "href": account.get_absolute_url(),
            "at": row.changed_at,
        }
        for account, row in stopped
    ]


def action_rows(actions: list[RiskAction]) -> list[dict[str, Any]]:
    return [
        {
            "at": action.taken_at,
            "subject": str(action.strategy or action.portfolio),
            "state": action.trading_state,
            "protection": _protection(action),
            "code": action.code,
            "by": str(action.taken_by) if action.taken_by else "A limit",
            "reason": action.reason,
        }
        for action in actions
    ]


def _protection(action: RiskAction) -> str:
    if action.trading_state != TradingState.HALTED:
        return "Act"
    return "Act" if action.keeps_protection else "Cancelled"
