"""Domain events: how a lower app tells an upper one that something has happened.

They are sent after commit, with keyword arguments that are ids, never rows.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

logger = logging.getLogger(__name__)

bars_stored = Signal()  # series_ids, start, end
bars_restated = Signal()  # series_ids, start, end
backtest_finished = Signal()  # run_id
feed_turned = Signal()  # is_first; every few seconds, in the process that stores live bars
strategy_changed = Signal()  # strategy_id
signals_stored = Signal()  # strategy_ids
fill_recorded = Signal()  # account_ids
equity_marked = Signal()  # account_ids
orders_denied = Signal()  # order_ids
trading_state_changed = Signal()  # portfolio_ids, strategy_ids
verification_changed = Signal()  # strategy_ids
job_finished = Signal()  # job_id, task, status
demo_seeded = Signal()  # user_id; receivers add what a first look should show, once


def send_on_commit(signal: Signal, **arguments: Any) -> None:
    """Send `signal` once the surrounding transaction is committed."""
    transaction.on_commit(partial(_send, signal, arguments))


def send_now(signal: Signal, **arguments: Any) -> None:
    """Send `signal` at once; a receiver that fails is logged and the others still hear it."""
    _send(signal, arguments)


def _send(signal: Signal, arguments: dict[str, Any]) -> None:
    for receiver, answer in signal.send_robust(sender=None, **arguments):
        if isinstance(answer, Exception):
            logger.error(
                "event receiver failed", exc_info=answer, extra={"receiver": str(receiver)}
            )
