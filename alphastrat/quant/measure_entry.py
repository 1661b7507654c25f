"""What the catalogue knows about one measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from alphastrat.quant.samples import Sample
from alphastrat.quant.types import FloatArray


class Unit(StrEnum):
    """What a value counts, which decides how it is written."""

    FRACTION = "fraction"
    RATIO = "ratio"
    BARS = "bars"


@dataclass(frozen=True, slots=True)
class Measure:
    """One entry of the catalogue.

    Attributes
    ----------
    key : str
        Name in the API, in stored results and of the function in `measures`.
    label : str
        Name on pages.
    unit : Unit
        Fractions are shown as percent.
    definition : str
        What it says, in one sentence for a trader.
    formula : str
        LaTeX; p is the bars per year, n the bars, r the returns, b the benchmark, E the equity,
        d the drawdown.
    reference : str
        Author, year, title.
    higher_is_better : bool or None
        None where neither direction is. Losses are negative, so a higher value at risk and a
        higher maximum drawdown are the better ones.
    min_observations : int
        Fewest bars from which `measure_all` gives a number.
    compute : callable
        From a `Sample` and the bars per year to an array of shape (n_series,).
    needs_benchmark : bool
        Whether it compares with a benchmark.
    """

    key: str
    label: str
    unit: Unit
    definition: str
    formula: str
    reference: str
    higher_is_better: bool | None
    min_observations: int
    compute: Callable[[Sample, float], FloatArray]
    needs_benchmark: bool = False
