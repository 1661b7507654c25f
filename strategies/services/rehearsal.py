"""A backtest that every worker which starts takes from its order to its end, and takes back.

What the first backtest of somebody would import, compile, look up or touch for the first time is
there already. Nothing is committed, so nobody ever sees it.
"""

from __future__ import annotations

from datetime import date
from uuid import uuid4

import numpy as np
import pandas as pd
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.timezone import now

from alphastrat.core.jobs import rehearse_job
from alphastrat.marketdata.models import Bar, BarSeries, Instrument
from alphastrat.quant.types import Timeframe
from strategies.quant import registry
from strategies.services import backtesting, examination, provenance, specification

FIRST_BAR, START, END = date(2022, 10, 3), date(2024, 1, 1), date(2024, 6, 30)
SOURCE = "rehearsal"


def rehearse() -> None:
    """Order a backtest of made-up bars, run it as a job, examine it and roll everything back."""
    with transaction.atomic():
        symbols = _store_made_up_bars()
        asked = specification.Specification(
            plugin="rsi_mean_reversion",
            symbols=symbols,
            start=START,
            end=END,
            costs={"slippage_bps": 1.0},
        )
        nobody = get_user_model()(pk=0)
        run = backtesting.request_backtest(nobody, asked, at=now())
        rehearse_job(str(run.job_id))
        examination.examine_run(str(run.pk), report=lambda done, step: None)
        transaction.set_rollback(True)
    for plugin in registry.plugin_keys():
        provenance.code_version(plugin)


def _store_made_up_bars() -> tuple[str, ...]:
    """Store two instruments whose prices swing, and return their symbols."""
    # Workers that start together must not wait for each other's symbols.
    instruments = [Instrument(symbol=uuid4().hex) for _ in range(2)]
    Instrument.objects.bulk_create(instruments)
    days = pd.bdate_range(FIRST_BAR, END, tz="UTC")
    prices = 100.0 + 10.0 * np.sin(np.arange(len(days)) / 3.0)
    opened, closed = days + pd.Timedelta(hours=14.5), days + pd.Timedelta(hours=21)
    series = [
        BarSeries(
            instrument=one,
            timeframe=Timeframe.DAY_1,
            source=SOURCE,
            bar_count=len(days),
            first_opened_at=opened[0],
            last_closed_at=closed[-1],
            revision=1,
        )
        for one in instruments
    ]
    BarSeries.objects.bulk_create(series)
    at = now()
    Bar.objects.bulk_create(
        Bar(
            series=one,
            opened_at=opened[t],
            closed_at=closed[t],
            ingested_at=at,
            open=price,
            high=price + 1.0,
            low=price - 1.0,
            close=price,
            volume=price * 1e4,
        )
        for one in series
        for t, price in enumerate(prices.tolist())
    )
    return tuple(one.symbol for one in instruments)
