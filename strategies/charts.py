"""The figures of a backtest: each with a picture, a conclusion in words and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from alphastrat.core import charts, previews
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import day, money, percent, ratio, signed_percent, signed_points
from alphastrat.quant.rolling import half_year
from strategies.services.results import Results

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
N_BINS = 41


def equity(results: Results) -> Chart:
    """Draw the account against its benchmark, with the exposure below."""
    curves = results.curves
    series = {"equity": curves.equity}
    if curves.benchmark_returns is not None:
        series = {"benchmark": curves.benchmark, **series}
    caption = equity_words(results)

    def draw() -> Figure:
        times = list(curves.times)
        traces = [charts.line(times, curves.equity, name="Strategy", role="equity")]
        if curves.benchmark_returns is not None:
            traces.append(
                charts.line(times, curves.benchmark, name="Buy and hold", role="benchmark")
            )
        panels = [Panel("Account value", "money", 3.0)]
        # The account of another tool comes without its positions.
        if np.isfinite(curves.gross).any():
            exposure = charts.line(
                times, curves.gross, name="Exposure", role="series-2", panel=2, fill=True
            )
            traces.append(exposure)
            panels.append(Panel("Exposure", "percent", 1.0))
        return charts.figure(
            traces,
            panels=panels,
            summary=caption,
        )

    return Chart(
        key="equity",
        title="Equity against benchmark",
        caption=caption,
        svg=charts.preview(series),
        draw=draw,
        columns=("time", "equity", "benchmark", "gross_exposure", "net_exposure", "drawdown"),
        rows=lambda: zip(
            curves.times,
            curves.equity,
            curves.benchmark,
            curves.gross,
            curves.net,
            results.drawdowns,
            strict=True,
        ),
    )


def underwater(results: Results) -> Chart:
    """Draw how far the account is below its peak."""
    caption = drawdown_words(results)
    held = results.benchmark_drawdowns

    def draw() -> Figure:
        times = list(results.times)
        traces = [
            charts.line(times, results.drawdowns, name="Strategy", role="drawdown", fill=True)
        ]
        if held is not None:
            traces.append(charts.line(times, held, name="Buy and hold", role="benchmark"))
        return charts.figure(traces, panels=(Panel("Below peak", "percent"),), summary=caption)

    series = {"drawdown": results.drawdowns}
    return Chart(
        key="underwater",
        title="Underwater",
        caption=caption,
        svg=charts.preview(
            series if held is None else {**series, "benchmark": held}, area="drawdown"
        ),
        draw=draw,
        columns=("time", "drawdown", "benchmark_drawdown"),
        rows=lambda: zip(
            results.times,
            results.drawdowns,
            np.full(len(results.times), np.nan) if held is None else held,
            strict=True,
        ),
    )


def rolling_sharpe(results: Results) -> Chart:
    """Draw the Sharpe ratio of the last half year."""
    n_bars = half_year(results.run.periods_per_year or 252.0)
    values = results.rolling_sharpe(n_bars)
    known = values[np.isfinite(values)]
    whole = results.numbers.get("sharpe_ratio")
    caption = (
        f"Over windows of {n_bars} bars the Sharpe ratio ran from {ratio(known.min())} to "
        f"{ratio(known.max())}; it was above zero {percent((known > 0).mean(), 0)} of the time. "
        f"The whole run has {ratio(whole)}."
        if known.size
        else f"The run is shorter than one window of {n_bars} bars, or nothing moved."
    )

    def draw() -> Figure:
        trace = charts.line(
            list(results.times), values, name=f"Sharpe, {n_bars} bars", role="equity"
        )
        shapes = [charts.limit_line(whole, text="Whole run")] if whole is not None else []
        return charts.figure(
            [trace], panels=(Panel("Sharpe ratio", "ratio"),), summary=caption, shapes=shapes
        )

    return Chart(
        key="rolling-sharpe",
        title="Rolling Sharpe ratio",
        caption=caption,
        svg=charts.preview({"equity": values}),
        draw=draw,
        columns=("time", "sharpe_ratio"),
        rows=lambda: zip(results.times, values, strict=True),
        is_empty=not known.size,
    )


def monthly(results: Results) -> Chart:
    """Draw the return of every month."""
    years, table = results.monthly_returns()
    months = table[:, :12][np.isfinite(table[:, :12])]
    caption = (
        f"{int((months > 0).sum())} of {months.size} months gained; the best "
        f"{signed_percent(months.max())}, the worst {signed_percent(months.min())}."
        if months.size
        else "There is no whole month yet."
    )

    def draw() -> Figure:
        texts = [["" if not np.isfinite(v) else percent(v, 1).text for v in row] for row in table]
        trace = charts.heatmap(
            [*MONTHS, "Year"],
            [str(year) for year in years],
            table.tolist(),
            name="Return",
            texts=texts,
        )
        return charts.figure([trace], summary=caption, time_axis=False, row_labels=True)

    return Chart(
        key="monthly",
        title="Monthly returns",
        caption=caption,
        svg=charts.preview({"equity": months}),
        draw=draw,
        columns=("year", *(month.lower() for month in MONTHS), "total"),
        rows=lambda: ([int(year), *row] for year, row in zip(years, table, strict=True)),
        ranges=False,
        is_empty=not months.size,
    )


def distribution(results: Results) -> Chart:
    """Draw how often each return per bar happened."""
    returns = results.curves.returns
    returns = returns[np.isfinite(returns) & (returns != 0)]
    low, high = np.quantile(returns, (0.05, 0.95)) if returns.size else (np.nan, np.nan)
    caption = (
        f"On bars with a position nine returns in ten lay between {signed_percent(low)} and "
        f"{signed_percent(high)}; skewness {ratio(results.numbers.get('skewness'))}, excess "
        f"kurtosis {ratio(results.numbers.get('kurtosis'))}."
        if returns.size
        else "No bar had a return: nothing was held."
    )
    counts = np.histogram(returns, bins=N_BINS)[0] if returns.size else np.zeros(0)

    def draw() -> Figure:
        trace = charts.histogram(returns, name="Bars", role="equity", n_bins=N_BINS)
        drawn = charts.figure(
            [trace], panels=(Panel("Bars", "count"),), summary=caption, time_axis=False
        )
        drawn["layout"]["xaxis"]["tickformat"] = charts.TICK_FORMATS["percent"]
        return drawn

    return Chart(
        key="distribution",
        title="Distribution of returns",
        caption=caption,
        svg=charts.preview({"equity": counts}),
        draw=draw,
        columns=("return",),
        rows=lambda: ((value,) for value in returns),
        ranges=False,
        is_empty=not returns.size,
    )


def excursions(results: Results) -> Chart:
    """Draw for every round trip how far it went against, and for, the position."""
    trips = results.closed
    trips = trips[trips["mae"].notna() & trips["mfe"].notna()]
    gains = trips["return"] > 0
    caption = (
        f"Winners first went {percent(-trips.loc[gains, 'mae'].mean())} against the position on "
        f"average, losers {percent(-trips.loc[~gains, 'mae'].mean())}; losers had once been up "
        f"{percent(trips.loc[~gains, 'mfe'].mean())}."
        if gains.any() and not gains.all()
        else "There are not both winners and losers to compare."
    )

    def draw() -> Figure:
        traces = [
            charts.markers(
                (trips.loc[rows, "mae"]).tolist(),
                trips.loc[rows, "return"].tolist(),
                name=name,
                role=role,
                text=_trip_words(trips.loc[rows]),
            )
            for rows, name, role in ((gains, "Winners", "profit"), (~gains, "Losers", "loss"))
        ]
        for trace in traces:
            trace["marker"] = {"symbol": "circle", "size": 7, "opacity": 0.75}
        drawn = charts.figure(
            traces,
            panels=(Panel("Return of the round trip", "percent"),),
            summary=caption,
            time_axis=False,
        )
        drawn["layout"]["xaxis"] |= {
            "tickformat": charts.TICK_FORMATS["percent"],
            "title": {"text": "Worst excursion while open"},
        }
        return drawn

    return Chart(
        key="excursions",
        title="Excursions of round trips",
        caption=caption,
        svg=_scatter(trips["mae"].to_numpy(), trips["return"].to_numpy()),
        draw=draw,
        columns=("symbol", "entry_time", "exit_time", "mae", "mfe", "return"),
        rows=lambda: trips[
            ["symbol", "entry_time", "exit_time", "mae", "mfe", "return"]
        ].itertuples(index=False),
        ranges=False,
        is_empty=trips.empty,
    )


def by_symbol(results: Results) -> Chart:
    """Draw what each instrument earned."""
    rows = sorted(results.by("symbol"), key=lambda row: row["pnl"])
    currency = results.run.currency
    caption = (
        f"{rows[-1]['symbol']} earned most ({money(rows[-1]['pnl'], currency, 0)}), "
        f"{rows[0]['symbol']} least ({money(rows[0]['pnl'], currency, 0)})."
        if rows
        else "No round trip was closed."
    )
    shown = rows if len(rows) <= 30 else [*rows[:15], *rows[-15:]]

    def draw() -> Figure:
        trace = charts.horizontal_columns(
            [row["symbol"] for row in shown],
            [row["pnl"] for row in shown],
            name="P&L",
            role="pnl",
        )
        drawn = charts.figure(
            [trace], summary=caption, time_axis=False, panels=(Panel("", "text"),)
        )
        drawn["layout"]["xaxis"]["tickformat"] = charts.TICK_FORMATS["money"]
        drawn["layout"]["yaxis"]["dtick"] = 1
        return drawn

    return Chart(
        key="by-symbol",
        title="P&L by instrument",
        caption=caption,
        svg=_bars([row["pnl"] for row in shown]),
        draw=draw,
        columns=("symbol", "n_trades", "pnl", "win_rate", "average_return", "commission"),
        rows=lambda: (tuple(row.values()) for row in rows),
        ranges=False,
        is_empty=not rows,
    )


CHARTS: dict[str, Callable[[Results], Chart]] = {
    "equity": equity,
    "underwater": underwater,
    "monthly": monthly,
    "rolling-sharpe": rolling_sharpe,
    "distribution": distribution,
    "excursions": excursions,
    "by-symbol": by_symbol,
}


def equity_words(results: Results) -> str:
    """Say what the account came to, and what its benchmark did."""
    curves, currency = results.curves, results.run.currency
    total = curves.equity[-1] / curves.capital - 1
    words = (
        f"The account went from {money(curves.capital, currency, 0)} to "
        f"{money(curves.equity[-1], currency, 0)} ({signed_percent(total)})"
    )
    if curves.benchmark_returns is None:
        return f"{words}."
    held = curves.benchmark[-1] / curves.capital - 1
    side = "ahead of" if total >= held else "behind"
    return (
        f"{words}, {signed_points(abs(total - held)).text.lstrip('+')} {side} buy and hold "
        f"({signed_percent(held)})."
    )


def drawdown_words(results: Results) -> str:
    """Say how far the account fell below its peak, and when."""
    worst = results.run.metrics.get("worst_drawdowns") or []
    if not worst:
        return "The account never fell below an earlier peak."
    deepest = worst[0]
    recovered = deepest["recovered_at"]
    end = f"recovered by {_day(recovered)}" if recovered else "not recovered by the end"
    return (
        f"The deepest fall was {signed_percent(deepest['depth'])}, from {_day(deepest['peak_at'])} "
        f"to {_day(deepest['trough_at'])}, {end}."
    )


def _day(stamp: str) -> str:
    return day(datetime.fromisoformat(stamp))


def _trip_words(trips: Any) -> list[str]:
    return [f"{row.symbol} {day(row.entry_time)}" for row in trips.itertuples(index=False)]


def _scatter(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> SafeString:
    """Draw up to 200 points as short strokes, which need no fill."""
    if x.size < 2:
        return SafeString("")
    keep = np.unique(np.linspace(0, x.size - 1, min(x.size, previews.PREVIEW_POINTS)).astype(int))
    x, y = x[keep], y[keep]
    left = 8 + 704 * (x - x.min()) / (np.ptp(x) or 1.0)
    top = 8 + 224 * (1 - (y - y.min()) / (np.ptp(y) or 1.0))
    dots = format_html_join(
        "",
        '<path data-role="{}" d="M{} {}h4M{} {}v4"/>',
        (
            (
                "profit" if value > 0 else "loss",
                f"{a - 2:.0f}",
                f"{b:.0f}",
                f"{a:.0f}",
                f"{b - 2:.0f}",
            )
            for a, b, value in zip(left, top, y, strict=True)
        ),
    )
    return _picture(dots)


def _bars(values: list[float]) -> SafeString:
    """Draw horizontal bars, the last value on top."""
    if not values:
        return SafeString("")
    low, high = min(0.0, *values), max(0.0, *values)
    zero, scale = -704 * low / ((high - low) or 1.0) + 8, 704 / ((high - low) or 1.0)
    height = 224 / len(values)
    return _picture(
        format_html_join(
            "",
            '<path data-role="{}" d="M{} {}H{}v{}H{}z"/>',
            (
                (
                    "profit" if value > 0 else "loss",
                    f"{zero:.1f}",
                    f"{232 - (place + 0.8) * height:.1f}",
                    f"{zero + value * scale:.1f}",
                    f"{0.6 * height:.1f}",
                    f"{zero:.1f}",
                )
                for place, value in enumerate(values)
            ),
        )
    )


def _picture(shapes: SafeString) -> SafeString:
    return format_html(
        '<svg class="preview" viewBox="0 0 720 240" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="axis" d="M0 60H720M0 120H720M0 180H720"/>{}</svg>',
        shapes,
    )
