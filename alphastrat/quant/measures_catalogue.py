"""The catalogue of performance measures: what help pages, cards and the API say about each."""

from __future__ import annotations

from alphastrat.quant.benchmark_measures import (
    alpha,
    beta,
    correlation,
    down_capture,
    information_ratio,
    information_ratio_per_bar,
    tracking_error,
    up_capture,
)
from alphastrat.quant.measure_entry import Measure, Unit
from alphastrat.quant.return_measures import (
    annual_return,
    annual_volatility,
    best_bar,
    calmar_ratio,
    downside_risk,
    longest_drawdown,
    martin_ratio,
    max_drawdown,
    omega_ratio,
    pain_index,
    sharpe_ratio,
    sortino_ratio,
    stability,
    total_return,
    ulcer_index,
    winning_bars,
    worst_bar,
)
from alphastrat.quant.tail_measures import (
    conditional_value_at_risk,
    gaussian_value_at_risk,
    kurtosis,
    modified_value_at_risk,
    skewness,
    tail_ratio,
    value_at_risk,
)

_BACON = "Bacon (2008), Practical Portfolio Performance Measurement and Attribution"


_CATALOGUE = (
    Measure(
        key="total_return",
        label="Total return",
        unit=Unit.FRACTION,
        definition="What the account gained or lost over the whole period, compounded.",
        formula=r"\prod_t (1 + r_t) - 1",
        reference=f"{_BACON}, ch. 2",
        higher_is_better=True,
        min_observations=1,
        compute=lambda sample, _: total_return(sample),
    ),
    Measure(
        key="annual_return",
        label="Annual return",
        unit=Unit.FRACTION,
        definition="The constant yearly return that compounds to the total return.",
        formula=r"\prod_t (1 + r_t)^{p/n} - 1",
        reference=f"{_BACON}, ch. 3",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: annual_return(sample, periods_per_year=periods),
    ),
    Measure(
        key="annual_volatility",
        label="Volatility",
        unit=Unit.FRACTION,
        definition=(
            "How far returns scatter about their mean in a year: the sample standard "
            "deviation times the square root of the bars in a year."
        ),
        formula=r"s \sqrt{p}",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, periods: annual_volatility(sample, periods_per_year=periods),
    ),
    Measure(
        key="sharpe_ratio",
        label="Sharpe ratio",
        unit=Unit.RATIO,
        definition=(
            "Mean return per unit of volatility, annualised: arithmetic mean, sample "
            "deviation, risk-free rate 0."
        ),
        formula=r"\sqrt{p}\, \bar r / s",
        reference="Sharpe (1994), The Sharpe Ratio, Journal of Portfolio Management 21(1)",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: sharpe_ratio(sample, periods_per_year=periods),
    ),
    Measure(
        key="sortino_ratio",
        label="Sortino ratio",
        unit=Unit.RATIO,
        definition=(
            "Mean return per unit of downside risk, annualised, with 0 as the target; "
            "undefined if no bar lost."
        ),
        formula=r"p\, \bar r \big/ \sqrt{p\, \overline{\min(r, 0)^2}}",
        reference=("Sortino & Price (1994), Performance Measurement in a Downside Risk Framework"),
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: sortino_ratio(sample, periods_per_year=periods),
    ),
    Measure(
        key="calmar_ratio",
        label="Calmar ratio",
        unit=Unit.RATIO,
        definition=(
            "Annual return over the size of the deepest drawdown; undefined without a drawdown."
        ),
        formula=r"R_{year} / |\mathrm{MDD}|",
        reference="Young (1991), Calmar Ratio: A Smoother Tool, Futures 20(1)",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: calmar_ratio(sample, periods_per_year=periods),
    ),
    Measure(
        key="omega_ratio",
        label="Omega ratio",
        unit=Unit.RATIO,
        definition=(
            "The sum of the gains over the sum of the losses of all bars; above 1 if the "
            "bars gained on the whole."
        ),
        formula=r"\sum_t r_t^+ \big/ \sum_t (-r_t)^+",
        reference="Keating & Shadwick (2002), A Universal Performance Measure",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: omega_ratio(sample),
    ),
    Measure(
        key="martin_ratio",
        label="Martin ratio",
        unit=Unit.RATIO,
        definition="Annual return over the ulcer index; undefined without a drawdown.",
        formula=r"R_{year} / \mathrm{UI}",
        reference="Martin & McCann (1989), The Investor's Guide to Fidelity Funds",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: martin_ratio(sample, periods_per_year=periods),
    ),
    Measure(
        key="max_drawdown",
        label="Maximum drawdown",
        unit=Unit.FRACTION,
        definition="The deepest fall below an earlier peak, the start counted as a peak.",
        formula=r"\min_t E_t / \max_{s \le t} E_s - 1",
        reference="Magdon-Ismail & Atiya (2004), Maximum drawdown, Risk 17(10)",
        higher_is_better=True,
        min_observations=1,
        compute=lambda sample, _: max_drawdown(sample),
    ),
    Measure(
        key="longest_drawdown",
        label="Longest drawdown",
        unit=Unit.BARS,
        definition="The most bars in a row that the account spent below a peak.",
        formula=r"\max\{\text{consecutive } t : d_t < 0\}",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=False,
        min_observations=1,
        compute=lambda sample, _: longest_drawdown(sample),
    ),
    Measure(
        key="ulcer_index",
        label="Ulcer index",
        unit=Unit.FRACTION,
        definition="The root mean square drawdown: deep and long falls weigh most.",
        formula=r"\sqrt{\overline{d_t^2}}",
        reference="Martin & McCann (1989), The Investor's Guide to Fidelity Funds",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, _: ulcer_index(sample),
    ),
    Measure(
        key="pain_index",
        label="Pain index",
        unit=Unit.FRACTION,
        definition="The mean size of the drawdown over all bars.",
        formula=r"\overline{|d_t|}",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, _: pain_index(sample),
    ),
    Measure(
        key="downside_risk",
        label="Downside risk",
        unit=Unit.FRACTION,
        definition=(
            "The root mean square of the losing bars, annualised; winning bars count as 0."
        ),
        formula=r"\sqrt{p\, \overline{\min(r, 0)^2}}",
        reference="Rollinger & Hoffman (2013), Sortino: A 'Sharper' Ratio",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, periods: downside_risk(sample, periods_per_year=periods),
    ),
    Measure(
        key="value_at_risk",
        label="Value at risk 95 %",
        unit=Unit.FRACTION,
        definition="The return that one bar in twenty falls below, read from the past.",
        formula="Q_{0.05}(r)",
        reference="Jorion (2006), Value at Risk, 3rd ed.",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: value_at_risk(sample),
    ),
    Measure(
        key="gaussian_value_at_risk",
        label="Value at risk 95 %, normal",
        unit=Unit.FRACTION,
        definition="The value at risk if returns were normal with the same mean and deviation.",
        formula=r"\bar r + z_{0.05} s",
        reference="Jorion (2006), Value at Risk, 3rd ed.",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: gaussian_value_at_risk(sample),
    ),
    Measure(
        key="modified_value_at_risk",
        label="Value at risk 95 %, modified",
        unit=Unit.FRACTION,
        definition=(
            "The normal value at risk corrected for skewness and kurtosis (Cornish-Fisher)."
        ),
        formula=(
            r"\bar r + s\left(z + \tfrac{z^2-1}{6}S + \tfrac{z^3-3z}{24}K - "
            r"\tfrac{2z^3-5z}{36}S^2\right)"
        ),
        reference=(
            "Favre & Galeano (2002), Mean-Modified Value-at-Risk Optimization with Hedge Funds"
        ),
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: modified_value_at_risk(sample),
    ),
    Measure(
        key="conditional_value_at_risk",
        label="Conditional value at risk 95 %",
        unit=Unit.FRACTION,
        definition=(
            "The mean return of the worst bars, those at or below the value at risk; also "
            "called expected shortfall."
        ),
        formula=r"E[r \mid r \le Q_{0.05}(r)]",
        reference="Acerbi & Tasche (2002), On the coherence of expected shortfall",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: conditional_value_at_risk(sample),
    ),
    Measure(
        key="skewness",
        label="Skewness",
        unit=Unit.RATIO,
        definition=(
            "The asymmetry of returns: negative if the bad bars reach further than the good ones."
        ),
        formula="m_3 / m_2^{3/2}",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: skewness(sample),
    ),
    Measure(
        key="kurtosis",
        label="Kurtosis",
        unit=Unit.RATIO,
        definition=(
            "The weight of the tails; 3 for a normal distribution, more if extreme bars "
            "are more frequent."
        ),
        formula="m_4 / m_2^2",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, _: kurtosis(sample),
    ),
    Measure(
        key="tail_ratio",
        label="Tail ratio",
        unit=Unit.RATIO,
        definition=(
            "The size of the 95th percentile of returns over the size of the 5th: above 1 "
            "if large gains exceed large losses."
        ),
        formula="|Q_{0.95}(r)| / |Q_{0.05}(r)|",
        reference="empyrical, tail_ratio (Quantopian 2016)",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: tail_ratio(sample),
    ),
    Measure(
        key="stability",
        label="Stability",
        unit=Unit.RATIO,
        definition=(
            "How closely the growth of the account follows a straight line in log scale: "
            "the R-squared of that line."
        ),
        formula=r"R^2 \text{ of } \ln E_t \text{ on } t",
        reference="empyrical, stability_of_timeseries (Quantopian 2016)",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: stability(sample),
    ),
    Measure(
        key="winning_bars",
        label="Winning bars",
        unit=Unit.FRACTION,
        definition=(
            "The share of gains among the bars in which the account moved; bars with a "
            "return of exactly 0 count on neither side."
        ),
        formula=r"\#\{r > 0\} / \#\{r \ne 0\}",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=True,
        min_observations=1,
        compute=lambda sample, _: winning_bars(sample),
    ),
    Measure(
        key="best_bar",
        label="Best bar",
        unit=Unit.FRACTION,
        definition="The largest return of a single bar.",
        formula=r"\max_t r_t",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=True,
        min_observations=1,
        compute=lambda sample, _: best_bar(sample),
    ),
    Measure(
        key="worst_bar",
        label="Worst bar",
        unit=Unit.FRACTION,
        definition="The smallest return of a single bar.",
        formula=r"\min_t r_t",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=True,
        min_observations=1,
        compute=lambda sample, _: worst_bar(sample),
    ),
    Measure(
        key="alpha",
        label="Alpha",
        unit=Unit.FRACTION,
        definition=(
            "The yearly return that the benchmark does not explain: the intercept of a "
            "regression on it."
        ),
        formula=r"(1 + \bar r - \beta \bar b)^p - 1",
        reference="Jensen (1968), The Performance of Mutual Funds in the Period 1945-1964",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: alpha(sample, None, periods_per_year=periods),
        needs_benchmark=True,
    ),
    Measure(
        key="beta",
        label="Beta",
        unit=Unit.RATIO,
        definition=(
            "How much the returns move with the benchmark: the slope of a regression on it."
        ),
        formula=r"\mathrm{cov}(r, b) / \mathrm{var}(b)",
        reference="Sharpe (1964), Capital Asset Prices, Journal of Finance 19(3)",
        higher_is_better=None,
        min_observations=20,
        compute=lambda sample, _: beta(sample, None),
        needs_benchmark=True,
    ),
    Measure(
        key="correlation",
        label="Correlation",
        unit=Unit.RATIO,
        definition="The linear correlation with the benchmark, from -1 to 1.",
        formula=r"\mathrm{cov}(r, b) / (\sigma_r \sigma_b)",
        reference=f"{_BACON}, ch. 4",
        higher_is_better=None,
        min_observations=20,
        compute=lambda sample, _: correlation(sample, None),
        needs_benchmark=True,
    ),
    Measure(
        key="tracking_error",
        label="Tracking error",
        unit=Unit.FRACTION,
        definition="How far returns scatter about those of the benchmark, annualised.",
        formula=r"s(r - b) \sqrt{p}",
        reference=f"{_BACON}, ch. 5",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, periods: tracking_error(sample, None, periods_per_year=periods),
        needs_benchmark=True,
    ),
    Measure(
        key="information_ratio",
        label="Information ratio",
        unit=Unit.RATIO,
        definition=(
            "Annual return above the benchmark's, both compounded, over the tracking error."
        ),
        formula=r"(R_{year} - B_{year}) \big/ s(r - b)\sqrt{p}",
        reference=f"{_BACON}, ch. 5",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, periods: information_ratio(sample, None, periods_per_year=periods),
        needs_benchmark=True,
    ),
    Measure(
        key="information_ratio_per_bar",
        label="Information ratio per bar",
        unit=Unit.RATIO,
        definition="Mean return above the benchmark's over its deviation, not annualised.",
        formula=r"\overline{r - b} / s(r - b)",
        reference="Grinold & Kahn (1999), Active Portfolio Management, ch. 5",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: information_ratio_per_bar(sample, None),
        needs_benchmark=True,
    ),
    Measure(
        key="up_capture",
        label="Up capture",
        unit=Unit.RATIO,
        definition=(
            "The share of the benchmark's gains that the strategy earned in the bars "
            "where the benchmark rose."
        ),
        formula=r"\frac{\prod_{b>0}(1+r)-1}{\prod_{b>0}(1+b)-1}",
        reference=f"{_BACON}, ch. 5",
        higher_is_better=True,
        min_observations=20,
        compute=lambda sample, _: up_capture(sample, None),
        needs_benchmark=True,
    ),
    Measure(
        key="down_capture",
        label="Down capture",
        unit=Unit.RATIO,
        definition=(
            "The share of the benchmark's losses that the strategy suffered in the bars "
            "where the benchmark fell; negative if it gained."
        ),
        formula=r"\frac{\prod_{b<0}(1+r)-1}{\prod_{b<0}(1+b)-1}",
        reference=f"{_BACON}, ch. 5",
        higher_is_better=False,
        min_observations=20,
        compute=lambda sample, _: down_capture(sample, None),
        needs_benchmark=True,
    ),
)

MEASURES: dict[str, Measure] = {entry.key: entry for entry in _CATALOGUE}
