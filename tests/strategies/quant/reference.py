"""The simulator written a second time, slowly and plainly, from its description."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from alphastrat.quant.execution import CostModel, exit_fill
from alphastrat.quant.types import Side
from strategies.quant.panel import Panel
from strategies.quant.signals import PanelSignals
from strategies.quant.simulator import SimulationConfig
from strategies.quant.sizing import SizeMode, ewma_volatility


@dataclass
class Position:
    side: int
    quantity: float
    entry: float
    entry_bar: int
    peak: float
    paid: float
    held: int = 0
    borrowed: float = 0.0
    excursions: list[float] = field(default_factory=list)


@dataclass
class Account:
    cash: float
    positions: dict[int, Position] = field(default_factory=dict)
    cooling: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    trips: list[tuple[float, ...]] = field(default_factory=list)
    is_ruined: bool = False


def wanted_side(side: int, wish: int) -> int:
    enters_long = bool(wish & 1) and not wish & 2
    enters_short = bool(wish & 4) and not wish & 8
    leaves_long = bool(wish & 2) and not wish & 1
    leaves_short = bool(wish & 8) and not wish & 4
    if enters_long and enters_short:
        return side
    if enters_long:
        return 1
    if enters_short:
        return -1
    if (side == 1 and leaves_long) or (side == -1 and leaves_short):
        return 0
    return side


class Reference:
    def __init__(self, panel: Panel, signals: PanelSignals, config: SimulationConfig) -> None:
        self.panel, self.signals, self.config = panel, signals, config
        self.costs: CostModel = config.costs
        self.volatility = ewma_volatility(panel.close)
        self.weights = config.sizing.weights(panel, periods_per_year=config.periods_per_year)
        self.account = Account(config.initial_cash)
        self.equity: list[float] = []

    def run(self) -> Reference:
        for t in range(self.panel.n_bars):
            self.open(t)
            self.within(t)
            self.close(t)
        return self

    def slipped(self, price: float, side: int, j: int) -> float:
        volatility = self.volatility[self.account.last[j], j]
        return self.costs.fill_price(
            price,
            Side.BUY if side > 0 else Side.SELL,
            volatility=0.0 if math.isnan(volatility) else float(volatility),
        )

    def leave(self, t: int, j: int, price: float, reason: int) -> None:
        position = self.account.positions.pop(j)
        fill = price if reason == 5 else self.slipped(price, -position.side, j)
        paid = self.costs.commission(position.quantity, fill)
        self.account.cash += position.side * position.quantity * fill - paid
        pnl = position.side * position.quantity * (fill - position.entry)
        pnl -= position.paid + paid + position.borrowed
        moves = [position.side * (p / position.entry - 1) for p in [*position.excursions, fill]]
        self.account.trips.append(
            (
                j,
                position.side,
                position.entry_bar,
                t,
                position.quantity,
                position.entry,
                fill,
                pnl,
                min(0.0, *moves),
                max(0.0, *moves),
                reason,
            )
        )

    def open(self, t: int) -> None:
        account, prices = self.account, self.panel.open[t]
        entries = []
        for j in range(self.panel.n_assets):
            if math.isnan(prices[j]) or j not in account.last:
                continue
            held = account.positions.get(j)
            side = held.side if held else 0
            wish = int(self.signals.wishes[account.last[j], j])
            target, reason = wanted_side(side, wish), 1
            if account.is_ruined:
                target, reason = 0, 7
            elif held and target == side and self.config.exits.max_bars:
                if held.held >= self.config.exits.max_bars:
                    target, reason = 0, 3
            elif not held and account.cooling.get(j, 0) > 0:
                target = 0
            if held and target == -side:
                reason = 2
            if held and target != side:
                self.leave(t, j, prices[j], reason)
            if target != 0 and target != side:
                entries.append((-self.signals.strength[account.last[j], j], j, target))
        self.enter(t, sorted(entries))

    def enter(self, t: int, entries: list[tuple[float, int, int]]) -> None:
        account, prices = self.account, self.panel.open[t]
        marks = {
            j: self.panel.close[account.last[j], j] if math.isnan(prices[j]) else prices[j]
            for j in account.positions
        }
        values = {j: p.side * p.quantity * marks[j] for j, p in account.positions.items()}
        equity = account.cash + sum(values.values())
        free = self.config.max_leverage * equity - sum(abs(v) for v in values.values())
        for _, j, side in entries:
            fill = self.slipped(prices[j], side, j)
            weight = self.weights[account.last[j], j]
            quantity = self.quantity(fill, equity, weight)
            quantity = min(quantity, self.costs.affordable_quantity(max(free, 0.0), fill))
            if self.config.granularity:
                lots = math.floor(quantity / self.config.granularity + 1e-9)
                quantity = lots * self.config.granularity
            if not quantity * fill > 1e-9 * abs(equity):
                continue
            paid = self.costs.commission(quantity, fill)
            account.cash -= side * quantity * fill + paid
            free -= quantity * fill + paid
            account.positions[j] = Position(side, quantity, fill, t, fill, paid)

    def quantity(self, fill: float, equity: float, weight: float) -> float:
        sizing = self.config.sizing
        if not weight > 0 or not equity > 0:
            return 0.0
        if sizing.mode == SizeMode.QUANTITY:
            return weight
        if sizing.mode == SizeMode.RISK:
            assert self.config.exits.stop_loss is not None
            return equity * weight / (fill * self.config.exits.stop_loss)
        budget = weight if sizing.mode == SizeMode.CASH else weight * equity
        return self.costs.affordable_quantity(budget, fill)

    def within(self, t: int) -> None:
        rules, panel = self.config.exits, self.panel
        for j in sorted(self.account.positions):
            position = self.account.positions[j]
            if math.isnan(panel.open[t, j]):
                continue
            side = position.side
            stops = []
            if rules.stop_loss:
                stops.append((side * position.entry * (1 - side * rules.stop_loss), 4))
            if rules.trailing_stop:
                peak = side * max(side * position.peak, side * panel.open[t, j])
                stops.append((side * peak * (1 - side * rules.trailing_stop), 6))
            signed, reason = max(stops, key=lambda s: (s[0], -s[1])) if stops else (math.nan, 0)
            target = position.entry * (1 + side * (rules.take_profit or math.nan))
            price, what = exit_fill(
                side, side * signed, target, panel.open[t, j], panel.high[t, j], panel.low[t, j]
            )
            if what == 0:
                continue
            if position.entry_bar != t:
                position.excursions.append(panel.open[t, j])
            self.leave(t, j, price, 5 if what == 2 else reason)
            if what == 1 and rules.cooldown_bars:
                self.account.cooling[j] = rules.cooldown_bars + 1

    def close(self, t: int) -> None:
        account, panel = self.account, self.panel
        equity = 0.0
        for j in range(panel.n_assets):
            is_present = not math.isnan(panel.close[t, j])
            if is_present:
                account.last[j] = t
                account.cooling[j] = max(account.cooling.get(j, 0) - 1, 0)
            position = account.positions.get(j)
            if position is None:
                continue
            close = panel.close[account.last[j], j]
            if is_present:
                position.held += 1
                high, low = panel.high[t, j], panel.low[t, j]
                position.excursions += [high, low]
                position.peak = (
                    max(position.peak, high) if position.side > 0 else min(position.peak, low)
                )
                borrowed = self.costs.borrow_cost(
                    position.side * position.quantity, close, years=1 / self.config.periods_per_year
                )
                account.cash -= borrowed
                position.borrowed += borrowed
            equity += position.side * position.quantity * close
        self.equity.append(account.cash + equity)
        account.is_ruined = account.is_ruined or self.equity[-1] <= 0


def simulate_slowly(panel: Panel, signals: PanelSignals, config: SimulationConfig) -> Reference:
    return Reference(panel, signals, config).run()


def trips_array(reference: Reference) -> np.ndarray:
    return np.array(reference.account.trips).reshape(-1, 11)
