"""Plain functions that make the rows tests need."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import pandas as pd
from django.db.models import Count, Max, Min
from django.test import Client
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken, User
from alphastrat.core.models import Job
from alphastrat.marketdata.models import Bar, BarSeries, ImportRun, Instrument
from alphastrat.quant.calendars import bar_times
from alphastrat.quant.types import Timeframe

PASSWORD = "correct horse"


def make_user(name: str = "alice", *, role: str = "trader", **fields: Any) -> User:
    """Make a person; alice owns, bob shares, charlie is refused."""
    return User.objects.create_user(name, password=PASSWORD, role=role, **fields)


def make_token(
    user: User, *, scope: str = "read-write", name: str = "notebook", **fields: Any
) -> tuple[ApiToken, str]:
    """Make an API token; the second value is its secret."""
    token, secret = ApiToken.issue(user, name=name, scope=scope)
    if fields:
        ApiToken.objects.filter(pk=token.pk).update(**fields)
    return ApiToken.objects.get(pk=token.pk), secret


def signed_in(user: User, **options: Any) -> Client:
    """Return a browser in which `user` is signed in."""
    client = Client(**options)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def bearer(secret: str) -> dict[str, str]:
    """Return the request headers that carry a token."""
    return {"Authorization": f"Bearer {secret}"}


def make_job(owner: User | None = None, *, status: str = "queued", **fields: Any) -> Job:
    """Make a job row that no worker knows of."""
    at = now()
    has_ended = status in {"succeeded", "failed", "cancelled"}
    values: dict[str, Any] = {
        "task": "tests.tasks.add",
        "key": f"add:{uuid4()}",
        "title": "Add two numbers",
        "due_at": at,
        "sent_at": at,
        "finished_at": at if has_ended else None,
    }
    return Job.objects.create(owner=owner, status=status, **{**values, **fields})


def day(text: str) -> datetime:
    """Return midnight UTC of an ISO date."""
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")


def make_instrument(symbol: str = "AAPL", **fields: Any) -> Instrument:
    """Make an instrument of the New York Stock Exchange, or of another `exchange`."""
    return Instrument.objects.create(symbol=symbol, **fields)


def make_series(
    instrument: Instrument | None = None,
    *,
    timeframe: str = "1d",
    adjustment: str = "split",
    source: str = "test",
    first: str = "2018-01-02",
    closes: Sequence[float] = (),
) -> BarSeries:
    """Make a series with one bar per close, from the first bar at or after `first` on."""
    instrument = instrument or make_instrument()
    series = BarSeries.objects.create(
        instrument=instrument, timeframe=timeframe, adjustment=adjustment, source=source
    )
    if closes:
        opened, closed = bar_times(
            Timeframe(timeframe), instrument.exchange, day(first), day("2018-12-31")
        )
        make_bars(series, opened[: len(closes)], closed[: len(closes)], closes)
    return series


def make_bars(
    series: BarSeries, opened: pd.DatetimeIndex, closed: pd.DatetimeIndex, closes: Sequence[float]
) -> None:
    """Store bars that open where the one before closed and reach a tenth to either side."""
    at = now()
    opens = [closes[0], *closes[:-1]]
    Bar.objects.bulk_create(
        Bar(
            series=series,
            opened_at=opened_at,
            closed_at=closed_at,
            open=open_,
            high=max(open_, close) + 0.1,
            low=min(open_, close) - 0.1,
            close=close,
            volume=1000.0,
            ingested_at=at,
        )
        for opened_at, closed_at, open_, close in zip(opened, closed, opens, closes, strict=True)
    )
    bars = series.bars.aggregate(
        n=Count("opened_at"), first=Min("opened_at"), last=Max("closed_at")
    )
    series.bar_count, series.first_opened_at = bars["n"], bars["first"]
    series.last_closed_at, series.revision = bars["last"], series.revision + 1
    series.save()


def make_import(owner: User | None = None, **fields: Any) -> ImportRun:
    """Make the row of an import that nobody has asked a worker for."""
    at = now()
    status = fields.get("status", "queued")
    values: dict[str, Any] = {
        "source": "test",
        "file_name": "bars.csv",
        "requested_at": at,
        "finished_at": None if status in {"queued", "running"} else at,
    }
    return ImportRun.objects.create(owner=owner, **{**values, **fields})
