"""Which strategy earned what: amounts and returns that add up to the whole, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

import numpy as np

from alphastrat.quant.types import FloatArray

Key = TypeVar("Key")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class StrategyResult(Generic[Key]):
    """A strategy's account over a period.

    Attributes
    ----------
    key : hashable
        Which strategy.
    opening, closing : Decimal
        Equity at both ends, account currency.
    net_flow : Decimal
        Capital put in less capital taken out in between.
    realised, unrealised, commission : Decimal
        Changes over the period; commission is a positive amount paid.
    """

    key: Key
    opening: Decimal
    closing: Decimal
    net_flow: Decimal
    realised: Decimal
    unrealised: Decimal
    commission: Decimal

    @property
    def pnl(self) -> Decimal:
        """Profit and loss after costs: the change of equity that no flow explains."""
        return self.closing - self.opening - self.net_flow

    @property
    def other(self) -> Decimal:
        """Dividends, interest and borrow costs: what fills and marks do not explain."""
        return self.pnl - self.realised - self.unrealised + self.commission


@dataclass(frozen=True, slots=True)
class Share(Generic[Key]):
    """One line of an attribution.

    Attributes
    ----------
    result : StrategyResult
        The strategy's own account.
    share : Decimal or None
        Of the sum of the absolute results, with sign, in [-1, 1]; None if nothing moved.
    """

    result: StrategyResult[Key]
    share: Decimal | None


@dataclass(frozen=True, slots=True)
class Attribution(Generic[Key]):
    """Profit and loss of a portfolio, line by line.

    Attributes
    ----------
    lines : tuple of Share
        Best first.
    total : StrategyResult
        Sums of the lines; its `key` is that of no strategy.
    """

    lines: tuple[Share[Key], ...]
    total: StrategyResult[None]


def attribute(results: Sequence[StrategyResult[Key]]) -> Attribution[Key]:
    """Return the profit and loss of each strategy and of the whole.

    Parameters
    ----------
    results : sequence of StrategyResult
        One per strategy, over the same period.

    Returns
    -------
    Attribution
        Every column of the lines sums to that of the total to the last digit.
    """
    total = StrategyResult(
        None,
        opening=sum((r.opening for r in results), ZERO),
        closing=sum((r.closing for r in results), ZERO),
        net_flow=sum((r.net_flow for r in results), ZERO),
        realised=sum((r.realised for r in results), ZERO),
        unrealised=sum((r.unrealised for r in results), ZERO),
        commission=sum((r.commission for r in results), ZERO),
    )
    moved = sum((abs(r.pnl) for r in results), ZERO)
    lines = [Share(r, r.pnl / moved if moved else None) for r in results]
    return Attribution(tuple(sorted(lines, key=lambda line: -line.result.pnl)), total)


def linked_contributions(profits: FloatArray, equity: FloatArray) -> FloatArray:
    r"""Return each strategy's part of the portfolio's time-weighted return.

    .. math:: C_i = \sum_t W_{t-1} \frac{p_{t,i}}{E_{t-1}}, \qquad
              W_t = \prod_{s \le t} \left(1 + \frac{\sum_i p_{s,i}}{E_{s-1}}\right), \qquad
              \sum_i C_i = W_T - 1

    Parameters
    ----------
    profits : ndarray of shape (n_bars, n_strategies)
        Profit and loss per bar, account currency; losses are negative.
    equity : ndarray of shape (n_bars,)
        Value of the portfolio at the start of each bar, flows of that bar included, positive.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Fractions that sum to the time-weighted return without a residual.

    Raises
    ------
    ValueError
        If the shapes do not fit or an equity is not positive.

    References
    ----------
    .. [1] Frongello (2002), "Linking single period attribution results", Journal of Performance
       Measurement 6(3): each effect grows with the portfolio that was there before it.
    """
    if profits.ndim != 2 or equity.shape != (profits.shape[0],):
        raise ValueError(f"{profits.shape} results and equity of shape {equity.shape}")
    if not (equity > 0).all():
        raise ValueError(f"equity must be positive, was {equity.min() if equity.size else None}")
    effects = profits / equity[:, None]
    wealth = np.cumprod(1.0 + effects.sum(axis=1))
    before = np.concatenate([[1.0], wealth[:-1]]) if wealth.size else wealth
    return np.asarray(before @ effects)
