"""Strategies and their versions, cached indicators, backtest runs and the trials they count as."""

from __future__ import annotations

from strategies.models.backtest import BacktestRun, RunStatus, Trial
from strategies.models.indicator import TechnicalIndicator
from strategies.models.performance import StrategyPerformance
from strategies.models.signal import SignalRepaint, StrategyCheck, StrategySignal
from strategies.models.strategy import LifecycleState, Strategy, StrategyVersion
from strategies.models.sweep import Sweep, SweepChunk
from strategies.models.walk_forward import WalkForward

__all__ = [
    "BacktestRun",
    "LifecycleState",
    "RunStatus",
    "SignalRepaint",
    "Strategy",
    "StrategyCheck",
    "StrategyPerformance",
    "StrategySignal",
    "StrategyVersion",
    "Sweep",
    "SweepChunk",
    "TechnicalIndicator",
    "Trial",
    "WalkForward",
]
