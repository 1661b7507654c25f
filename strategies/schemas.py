"""Shapes of the research API."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.urls import reverse
from ninja import Field, Schema
from pydantic import ConfigDict

from strategies.models import BacktestRun, LifecycleState, RunStatus, Strategy, StrategyVersion
from strategies.services.lifecycle import StrategyDraft
from strategies.services.specification import UNIVERSE, Specification


class ParameterOut(Schema):
    """One parameter of a plug-in."""

    name: str
    label: str
    kind: str
    default: int | float | bool | str
    unit: str
    help: str
    low: float | None
    high: float | None
    step: float | None
    choices: list[str]
    is_free: bool


class PluginCheckOut(Schema):
    """Whether a strategy type passed a check."""

    name: str
    passed: bool


class PluginOut(Schema):
    """A strategy type with its parameters, also as a JSON schema; warm-up with the defaults."""

    key: str
    label: str
    description: str
    is_panel: bool
    origin: str
    source: str
    warmup_bars: int
    has_passed: bool
    checks: list[PluginCheckOut]
    parameters: list[ParameterOut]
    parameter_schema: dict[str, Any]


class RejectedPluginOut(Schema):
    """Why a user's plug-in cannot be used; line 0 where none can be named."""

    source: str
    line: int
    message: str


class Exact(Schema):
    """What is asked for; a field that is not known is refused, because it may be misspelt."""

    model_config = ConfigDict(extra="forbid")


class TermsIn(Exact):
    """Exits and sizing; omitted ones do nothing."""

    exit_rules: dict[str, float | None] = Field(default_factory=dict)
    sizing: dict[str, float | str | None] = Field(default_factory=dict)


class PeriodIn(TermsIn):
    """When, with how much and at what cost; `end` is the last day that takes part."""

    start: date
    end: date
    capital: Decimal = Decimal(100_000)
    costs: dict[str, float] = Field(default_factory=dict)
    benchmark: str = UNIVERSE
    engine: str = "simulator"
    seed: int = Field(0, ge=0, lt=2**31)
    title: str = Field("", max_length=200)


class BacktestIn(PeriodIn):
    """A backtest of a plug-in with parameters on symbols."""

    plugin: str
    parameters: dict[str, int | float | bool | str] = Field(default_factory=dict)
    symbols: list[str]
    timeframe: str = "1d"

    def specification(self) -> Specification:
        """Return what is asked for, unchecked."""
        return Specification(**self.model_dump())


class StrategyBacktestIn(Exact):
    """A backtest of a version of a strategy."""

    start: date
    end: date
    version: int | None = Field(None, ge=1, description="The current one where none is named.")
    capital: Decimal = Decimal(100_000)
    costs: dict[str, float] = Field(default_factory=dict)
    benchmark: str = UNIVERSE
    engine: str = "simulator"
    seed: int = Field(0, ge=0, lt=2**31)


class BacktestOut(Schema):
    """A run with its headline numbers; fractions, losses negative, undefined null."""

    id: UUID
    title: str
    plugin: str
    parameters: dict[str, Any]
    symbols: list[str]
    timeframe: str
    start_at: datetime
    end_at: datetime
    capital: Decimal
    currency: str
    engine: str
    strategy_id: UUID | None
    version: int | None
    status: RunStatus
    failure_reason: str
    failure_code: str
    requested_at: datetime
    finished_at: datetime | None
    total_return: float | None
    annual_return: float | None
    volatility: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    calmar_ratio: float | None
    max_drawdown: float | None
    win_rate: float | None
    profit_factor: float | None
    exposure: float | None
    n_trades: int | None
    job_id: UUID | None
    url: str

    @staticmethod
    def resolve_strategy_id(run: BacktestRun) -> UUID | None:
        return run.strategy_version.strategy_id if run.strategy_version else None

    @staticmethod
    def resolve_version(run: BacktestRun) -> int | None:
        return run.strategy_version.number if run.strategy_version else None

    @staticmethod
    def resolve_url(run: BacktestRun) -> str:
        return reverse("api-1:get_backtest", args=[run.pk])


class BacktestDetailOut(BacktestOut):
    """A run with everything that is known about it except its curves and round trips."""

    costs: dict[str, Any]
    exit_rules: dict[str, Any]
    sizing: dict[str, Any]
    benchmark: str
    seed: int
    n_bars: int | None
    periods_per_year: float | None
    data_fingerprint: str
    code_version: str
    library_versions: dict[str, str]
    metrics: dict[str, Any]
    findings: list[dict[str, Any]]
    agreement: dict[str, Any] | None
    sharpe_evidence: dict[str, Any] | None = None


class TradeOut(Schema):
    """A round trip; `exit_time` is null while it is open."""

    symbol: str
    side: str
    entry_time: datetime
    exit_time: datetime | None
    quantity: float
    entry_price: float
    exit_price: float
    pnl: float
    return_: float = Field(alias="return")
    mae: float
    mfe: float
    commission: float
    slippage: float
    borrow: float
    exit_reason: str


class EquityOut(Schema):
    """Curves of a run, one value per bar close."""

    time: list[datetime]
    equity: list[float | None]
    benchmark: list[float | None]
    drawdown: list[float | None]
    gross_exposure: list[float | None]
    net_exposure: list[float | None]


class StrategyIn(TermsIn):
    """A strategy to create, or the content of a new version."""

    name: str = Field(max_length=120)
    description: str = ""
    plugin: str
    parameters: dict[str, int | float | bool | str] = Field(default_factory=dict)
    symbols: list[str]
    timeframe: str = "1d"


class StrategyChangeIn(StrategyIn):
    """What a strategy is to become; `expected_version` is the one that was looked at."""

    expected_version: int
    reason: str = Field("", max_length=300, description="Shown in the version history.")

    def draft(self) -> StrategyDraft:
        """Return the content of the next version, unchecked."""
        return StrategyDraft(**self.model_dump(exclude={"expected_version", "reason"}))


class MoveIn(Exact):
    """A step of the lifecycle; a reason overrules a gate that would refuse it."""

    state: LifecycleState
    reason: str = Field("", max_length=300)


class VersionOut(Schema):
    """One version of a strategy; never changed."""

    id: UUID
    number: int
    plugin: str
    parameters: dict[str, Any]
    symbols: list[str]
    timeframe: str
    exit_rules: dict[str, Any]
    sizing: dict[str, Any]
    created_by: str
    reason: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(version: StrategyVersion) -> str:
        return version.created_by.get_username()


class StrategyOut(Schema):
    """A strategy and the version it is at."""

    id: UUID
    name: str
    description: str
    plugin: str
    parameters: dict[str, Any]
    timeframe: str
    state: LifecycleState
    owner: str
    version: int | None
    symbols: list[str]
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_owner(strategy: Strategy) -> str:
        return strategy.owner.get_username()

    @staticmethod
    def resolve_version(strategy: Strategy) -> int | None:
        return strategy.current_version.number if strategy.current_version else None

    @staticmethod
    def resolve_symbols(strategy: Strategy) -> list[str]:
        return strategy.current_version.symbols if strategy.current_version else []
