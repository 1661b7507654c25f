"""A vendor's limit on calls, kept by all processes together: the promises live in one row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.timezone import now

from alphastrat.marketdata.models import CallBudget

MINUTE = timedelta(minutes=1)
# A promise further ahead was made by a clock that has since been set back.
FURTHEST_PROMISE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` in any `period`; zero calls means that there is no limit.

    A caller is promised a time, in a short transaction, and sleeps outside of it.
    """

    name: str
    calls: int
    period: timedelta = MINUTE
    clock: Callable[[], datetime] = now
    sleep: Callable[[float], None] = time.sleep

    def wait(self) -> None:
        """Return when one more call may be made."""
        if self.calls <= 0:
            return
        at = self.clock()
        delay = (self._promise(at) - at).total_seconds()
        if delay > 0:
            self.sleep(delay)

    def hold_back(self, seconds: float) -> None:
        """Let nobody call for a while, because the vendor has said so."""
        if self.calls <= 0:
            self.sleep(seconds)
            return
        earliest = self.clock() + timedelta(seconds=seconds) - self.period
        with transaction.atomic():
            budget = self._locked()
            known = [max(earliest, promised) for promised in budget.promised_at]
            budget.promised_at = [*[earliest] * self.calls, *known][-self.calls :]
            budget.save(update_fields=["promised_at"])

    def _promise(self, at: datetime) -> datetime:
        with transaction.atomic():
            budget = self._locked()
            known = [t for t in budget.promised_at if t <= at + FURTHEST_PROMISE]
            when = at
            if len(known) >= self.calls:
                when = max(at, known[-self.calls] + self.period)
            budget.promised_at = [*known, when][-self.calls :]
            budget.save(update_fields=["promised_at"])
        return when

    def _locked(self) -> CallBudget:
        CallBudget.objects.get_or_create(name=self.name)
        return CallBudget.objects.select_for_update().get(name=self.name)
