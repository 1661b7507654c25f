"""Executes a rebalance and kills itself, as -9 does, after a number of trades."""

from __future__ import annotations

import os
import signal
import sys

import django

django.setup()

from django.utils.timezone import now  # noqa: E402

from portfolio.services import rebalance_execution  # noqa: E402

rebalance_id, n_trades = sys.argv[1], int(sys.argv[2])
real = rebalance_execution.execute_trade
done = 0


def killed_between(trade_id, *, at):
    global done
    if done == n_trades:
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1
    return real(trade_id, at=at)


rebalance_execution.execute_trade = killed_between
rebalance_execution.execute(rebalance_id, at=now())
os.kill(os.getpid(), signal.SIGKILL)
