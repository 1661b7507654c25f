"""Signals on price charts: on a strategy's own, and added to that of an instrument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pandas as pd
from django.http import HttpRequest

from alphastrat.core import charts
from alphastrat.core.charts import Trace, preview
from alphastrat.marketdata.chart_additions import Drawn
from alphastrat.marketdata.frames import load_bars
from alphastrat.marketdata.live_market import live_series
from alphastrat.marketdata.models import Instrument
from strategies.models import Strategy, StrategySignal
from strategies.models.signal import SignalKind, StrategySignalQuerySet

# Of so many strategies the signals on an instrument are offered.
MOST_OFFERED = 50
MARKERS = ((SignalKind.BUY, "buy", "Buy"), (SignalKind.SELL, "sell", "Sell"))


def markers(signals: StrategySignalQuerySet, *, since: datetime) -> list[Trace]:
    """Return the buys and the sells since a time as markers on the price."""
    given = signals.exclude(signal_type=SignalKind.HOLD).filter(closed_at__gte=since)
    found = list(given.order_by("closed_at").values_list("signal_type", "closed_at", "price"))
    traces = []
    for kind, role, name in MARKERS:
        points = [(at, price) for given_kind, at, price in found if given_kind == kind]
        if points:
            times, prices = zip(*points, strict=True)
            traces.append(charts.markers(list(times), list(prices), name=name, role=role))
    return traces


def signal_panel(strategy: Strategy, *, wanted: str = "") -> dict[str, Any]:
    """Return the chart of one instrument of a strategy; empty while it waits for its first bars.

    The instrument is the one wanted, else that of the newest buy or sell, else the first.
    """
    version = strategy.current_version
    if version is None or not version.symbols:
        return {}
    symbol = wanted if wanted in version.symbols else _newest_symbol(strategy, version.symbols)
    bars = followed_bars(strategy, symbol)
    if bars is None:
        return {}
    return {
        "symbol": symbol,
        "chart_svg": preview({"price": bars["close"].to_numpy()[-charts.MAX_BARS :]}),
        "chart_caption": summary(strategy, symbol),
    }


def followed_bars(strategy: Strategy, symbol: str) -> pd.DataFrame | None:
    """Return the bars that a strategy's signals are given on; None where there are none yet.

    Of a market that is replayed these are the bars up to now.
    """
    series = live_series([symbol], strategy.timeframe).get(symbol)
    return None if series is None else load_bars(series)


def summary(strategy: Strategy, symbol: str) -> str:
    """Say in words what signals a strategy gave on an instrument."""
    given = StrategySignal.objects.filter(strategy=strategy, instrument__symbol=symbol)
    n_buys = given.filter(signal_type=SignalKind.BUY).count()
    n_sells = given.filter(signal_type=SignalKind.SELL).count()
    last = given.exclude(signal_type=SignalKind.HOLD).order_by("-closed_at").first()
    if last is None:
        return f"{strategy.name} has given no buy or sell signal on {symbol} yet."
    return (
        f"{n_buys} buy and {n_sells} sell signals on {symbol}; the newest was "
        f"{last.signal_type} at {last.price:,.2f} on {last.closed_at:%Y-%m-%d}."
    )


def _newest_symbol(strategy: Strategy, symbols: Sequence[str]) -> str:
    given = StrategySignal.objects.filter(strategy=strategy, instrument__symbol__in=symbols)
    newest = given.exclude(signal_type=SignalKind.HOLD).order_by("-closed_at", "instrument__symbol")
    return newest.values_list("instrument__symbol", flat=True).first() or symbols[0]


class SignalAddition:
    """The signals of a chosen strategy on the page of an instrument, `?signals=<strategy>`."""

    template = "strategies/_signal_picker.html"

    def controls(self, request: HttpRequest, instrument: Instrument) -> dict[str, Any]:
        chosen = _chosen(request)
        return {
            "strategies": [
                (str(key), name, key == chosen)
                for key, name in _offered(request, instrument)[:MOST_OFFERED]
            ],
            "is_chosen": chosen is not None,
            "kept": [
                (key, value)
                for key, value in request.GET.items()
                if key not in ("format", "signals")
            ],
        }

    def draw(
        self, request: HttpRequest, instrument: Instrument, bars: pd.DataFrame, *, n_shown: int
    ) -> Drawn:
        chosen = _chosen(request)
        if chosen is None or n_shown == 0:
            return Drawn()
        given = StrategySignal.objects.for_user(request.user).filter(
            strategy=chosen, instrument=instrument
        )
        return Drawn(traces=markers(given, since=bars.index[-n_shown].to_pydatetime()))


def _offered(request: HttpRequest, instrument: Instrument) -> Any:
    """Return the strategies of the person that were given this instrument, as ids and names."""
    strategies = Strategy.objects.for_user(request.user).filter(universe=instrument)
    return strategies.order_by("name").values_list("pk", "name")


def _chosen(request: HttpRequest) -> UUID | None:
    try:
        return UUID(request.GET.get("signals", ""))
    except ValueError:
        return None
