"""Accounts, orders, fills and positions; portfolios, their limits and rebalances."""

from __future__ import annotations

from portfolio.models.account import CAPITAL_MOVEMENTS, Account, BrokerName, CashMovement
from portfolio.models.broker_key import BrokerKey
from portfolio.models.difference import BrokerDifference
from portfolio.models.order import Fill, FillSource, Order, OrderReason, OrderStatus
from portfolio.models.portfolio import (
    FormerMember,
    Optimisation,
    Portfolio,
    PortfolioAllocation,
    PortfolioMember,
    Rebalance,
    RebalanceStatus,
    RebalanceTrade,
    TradingState,
)
from portfolio.models.position import EquityPoint, Position
from portfolio.models.risk import RiskAction, RiskLimits, StrategyStanding

__all__ = [
    "CAPITAL_MOVEMENTS",
    "Account",
    "BrokerDifference",
    "BrokerKey",
    "BrokerName",
    "CashMovement",
    "EquityPoint",
    "Fill",
    "FillSource",
    "FormerMember",
    "Optimisation",
    "Order",
    "OrderReason",
    "OrderStatus",
    "Portfolio",
    "PortfolioAllocation",
    "PortfolioMember",
    "Position",
    "Rebalance",
    "RebalanceStatus",
    "RebalanceTrade",
    "RiskAction",
    "RiskLimits",
    "StrategyStanding",
    "TradingState",
]
