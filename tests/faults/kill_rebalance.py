"""Executes rebalances, each in a process that kills itself, as -9 does, after a number of trades.

python -m tests.faults.kill_rebalance <rebalance>:<trades> …
"""

from __future__ import annotations

import os
import signal
import sys

import django

django.setup()

from django.utils.timezone import now  # noqa: E402

from portfolio.services import rebalance_execution  # noqa: E402


def execute_and_die(rebalance_id: str, n_trades: int) -> None:
    real = rebalance_execution.execute_trade
    done = 0

    def killed_between(trade_id, *, at):
        nonlocal done
        if done == n_trades:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return real(trade_id, at=at)

    rebalance_execution.execute_trade = killed_between
    rebalance_execution.execute(rebalance_id, at=now())
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> None:
    for argument in arguments:
        rebalance_id, n_trades = argument.split(":")
        # Started once and not connected yet: each child is a process with a connection of its own.
        child = os.fork()
        if child == 0:
            execute_and_die(rebalance_id, int(n_trades))
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "a rebalance ended by itself"
        assert os.WTERMSIG(status) == signal.SIGKILL


if __name__ == "__main__":
    main(sys.argv[1:])
