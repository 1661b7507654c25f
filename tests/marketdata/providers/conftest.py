from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alphastrat.marketdata.providers.rate_limit import RateLimit
from tests.marketdata.providers.vendor_server import VendorServer


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)

    def limit(self, calls: int = 5) -> RateLimit:
        return RateLimit("vendor", calls, clock=self.now, sleep=self.sleep)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def vendor(settings: Any, tmp_path: Path) -> Iterator[VendorServer]:
    settings.VAR_DIR = tmp_path
    server = VendorServer()
    yield server
    server.close()
