"""One delivery from the first provider that can make it; sources are never mixed in a series."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from alphastrat.core.errors import InvalidInput, ProviderError
from alphastrat.marketdata.models import CorporateAction, ImportRun, ImportStatus, Instrument
from alphastrat.marketdata.providers.base import (
    Action,
    BarRequest,
    Listing,
    MarketDataProvider,
    ProviderRefused,
)
from alphastrat.marketdata.providers.massive import MassiveProvider
from alphastrat.marketdata.providers.yfinance import YFinanceProvider
from alphastrat.marketdata.services.ingestion import Target, ingest

logger = logging.getLogger(__name__)

# After so many failures in a row a provider is left alone for the rest of the work.
GIVE_UP_AFTER = 3
_FACTORIES: dict[str, Callable[[], MarketDataProvider]] = {
    "massive": MassiveProvider.from_settings,
    "yfinance": YFinanceProvider,
}


def configured_providers() -> list[MarketDataProvider]:
    """Return the providers of MARKET_DATA_PROVIDERS in order, without those that lack a key.

    Raises
    ------
    InvalidInput
        If a name is unknown, or none is left.
    """
    names = list(settings.MARKET_DATA_PROVIDERS)
    unknown = [name for name in names if name not in _FACTORIES]
    if unknown:
        raise InvalidInput(
            f"MARKET_DATA_PROVIDERS names {unknown[0]!r}; known are {', '.join(_FACTORIES)}."
        )
    usable = [name for name in names if name != "massive" or settings.MASSIVE_API_KEY]
    if not usable:
        raise InvalidInput("No market data provider can be used: set MASSIVE_API_KEY.")
    return [_FACTORIES[name]() for name in usable]


class Failover:
    """Asks providers in order, and remembers which of them are out of service."""

    def __init__(self, providers: Sequence[MarketDataProvider]) -> None:
        self._providers = list(providers)
        self._refused: set[str] = set()
        self._failures: Counter[str] = Counter()

    def import_bars(
        self, request: BarRequest, *, at: datetime, currency: str = "USD", owner: Any = None
    ) -> ImportRun:
        """Store the bars of `request` from the first provider that delivers them.

        The run's `source` is the provider that served; its report says what the others answered.

        Raises
        ------
        ProviderError
            If none delivered; permanent if trying again would not help. The run is kept, failed.
        """
        able = self._able(request)
        if not able:
            raise self._nobody(request)
        run = _new_run(request, owner=owner, at=at)
        answers: dict[str, str] = {}
        permanent = True
        for provider in able:
            try:
                _deliver(provider, request, run, currency=currency, at=at)
            except ProviderError as error:
                permanent = permanent and error.permanent
                answers[provider.name] = str(error)
                self._note(provider, error)
            except InvalidInput as error:
                answers[provider.name] = str(error)
            else:
                self._failures.pop(provider.name, None)
                _keep_answers(run, answers)
                return run
        raise _failed(run, request, answers, permanent=permanent, at=at)

    def import_actions(self, listing: Listing, *, start: date, end: date) -> int:
        """Store splits and dividends from the first provider that answers; return how many."""
        for provider in self._providers:
            if provider.name in self._out_of_service():
                continue
            try:
                actions = provider.fetch_corporate_actions(listing, start=start, end=end)
            except ProviderError as error:
                self._note(provider, error)
                continue
            return _store_actions(listing, actions, source=provider.name)
        return 0

    def forgive(self) -> None:
        """Give every provider another chance; for those who ask for as long as they live."""
        self._refused.clear()
        self._failures.clear()

    def _nobody(self, request: BarRequest) -> ProviderError:
        """Return why no provider can be asked, which is for now if one of them only failed."""
        return ProviderError(
            f"No provider in service offers {request.adjustment} {request.timeframe} bars.",
            permanent=not set(self._failures) - self._refused,
        )

    def _able(self, request: BarRequest) -> list[MarketDataProvider]:
        out = self._out_of_service()
        return [
            provider
            for provider in self._providers
            if provider.name not in out
            and request.timeframe in provider.timeframes
            and request.adjustment in provider.adjustments
        ]

    def _out_of_service(self) -> set[str]:
        tired = {name for name, n in self._failures.items() if n >= GIVE_UP_AFTER}
        return self._refused | tired

    def _note(self, provider: MarketDataProvider, error: ProviderError) -> None:
        logger.warning(
            "provider failed", extra={"provider": provider.name, "reason": str(error)[:200]}
        )
        if isinstance(error, ProviderRefused):
            self._refused.add(provider.name)
        elif not error.permanent:
            self._failures[provider.name] += 1


def _new_run(request: BarRequest, *, owner: Any, at: datetime) -> ImportRun:
    return ImportRun.objects.create(
        owner=owner,
        source="none",
        status=ImportStatus.RUNNING,
        requested_at=at,
        started_at=at,
        options={
            "symbol": request.listing.symbol,
            "timeframe": request.timeframe.value,
            "adjustment": request.adjustment,
            "exchange": request.listing.exchange,
            "asset_class": request.listing.asset_class,
            "start": request.start.isoformat(),
            "end": request.end.isoformat(),
        },
    )


def _deliver(
    provider: MarketDataProvider,
    request: BarRequest,
    run: ImportRun,
    *,
    currency: str,
    at: datetime,
) -> None:
    run.source = provider.name
    target = Target(
        request.timeframe,
        provider.name,
        adjustment=request.adjustment,
        exchange=request.listing.exchange,
        asset_class=request.listing.asset_class,
        currency=currency,
    )
    # An error on a later page ends the delivery before anything of it is merged.
    ingest((batch.rows for batch in provider.fetch_bars(request)), run=run, target=target, at=at)


def _keep_answers(run: ImportRun, answers: Mapping[str, str]) -> None:
    run.report = {**run.report, "other_providers": dict(answers)}
    run.save(update_fields=["report"])


def _failed(
    run: ImportRun,
    request: BarRequest,
    answers: Mapping[str, str],
    *,
    permanent: bool,
    at: datetime,
) -> ProviderError:
    said = " ".join(f"{name}: {answer}" for name, answer in answers.items())
    message = f"No provider delivered {request.listing.symbol}. {said}"
    run.source, run.status, run.error, run.finished_at = "none", ImportStatus.FAILED, message, at
    run.report = {**run.report, "other_providers": dict(answers)}
    run.save()
    return ProviderError(message, permanent=permanent)


@transaction.atomic
def _store_actions(listing: Listing, actions: Sequence[Action], *, source: str) -> int:
    instrument = Instrument.objects.get(symbol=listing.symbol)
    rows = [
        CorporateAction(
            instrument=instrument,
            kind="split" if action.split_ratio is not None else "dividend",
            ex_date=action.ex_date,
            split_ratio=action.split_ratio,
            cash_amount=action.cash_amount,
            source=source,
        )
        for action in _one_per_day(actions)
    ]
    CorporateAction.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["instrument", "kind", "ex_date"],
        update_fields=["split_ratio", "cash_amount", "source"],
    )
    return len(rows)


def _one_per_day(actions: Sequence[Action]) -> list[Action]:
    """Join an ordinary and a special dividend of one day, as one row holds one day."""
    joined: dict[tuple[bool, date], Action] = {}
    for action in actions:
        key = (action.split_ratio is None, action.ex_date)
        before = joined.get(key)
        if before is not None and action.cash_amount is not None:
            cash = (before.cash_amount or 0.0) + action.cash_amount
            joined[key] = Action(action.symbol, action.ex_date, cash_amount=cash)
        else:
            joined[key] = action
    return list(joined.values())
