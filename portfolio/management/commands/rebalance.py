"""Propose, and with --approve execute, a rebalance of a portfolio here and now."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from alphastrat.core.errors import AlphaStratError
from alphastrat.core.jsonable import jsonable
from portfolio.models import Portfolio, Rebalance
from portfolio.models.portfolio import UNDECIDED
from portfolio.rebalancing_tables import laboratory_rows, trigger_rows
from portfolio.services import rebalance_execution, rebalancing
from portfolio.services.laboratory import run_laboratory
from portfolio.services.portfolio_state import returns_of, take_snapshot


class Command(BaseCommand):
    """Exits with 1 and the reason where nothing can be done."""

    help = "Rebalance a portfolio, or say what its triggers and the laboratory think of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("portfolio", help="name or id")
        parser.add_argument("--owner", help="username, where several people have that name")
        parser.add_argument("--approve", action="store_true", help="do it, not only propose it")
        parser.add_argument("--if-due", action="store_true", help="only if a trigger asks for it")
        parser.add_argument("--triggers", action="store_true", help="print the triggers and end")
        parser.add_argument("--laboratory", action="store_true", help="compare policies and end")
        parser.add_argument("--reason", default="")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, **options: Any) -> None:
        try:
            self._run(options)
        except AlphaStratError as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        portfolio, at = _found(options), now()
        snapshot = take_snapshot(portfolio, at=at)
        if options["triggers"] or options["laboratory"]:
            returns = returns_of(snapshot)
            if options["triggers"]:
                rows = trigger_rows(rebalancing.trigger_readings(snapshot, returns))
            else:
                laboratory = run_laboratory(snapshot, returns)
                rows = [] if laboratory is None else laboratory_rows(laboratory)
            self.stdout.write(json.dumps(jsonable(rows), indent=2))
            return
        if options["if_due"]:
            rebalance = rebalancing.check_triggers(portfolio, at=at)
            if rebalance is None:
                self.stdout.write(_why_not(portfolio))
                return
        else:
            rebalance = rebalancing.propose(portfolio, at=at, reason=options["reason"])
        if options["approve"]:
            if rebalance.status == rebalance.Status.PROPOSED:
                rebalancing.decide(rebalance, is_approved=True, reason="Command line.", at=at)
            rebalance = rebalance_execution.execute(str(rebalance.pk), at=now())
        self._write(rebalance, as_json=options["json"])

    def _write(self, rebalance: Rebalance, *, as_json: bool) -> None:
        trades = list(rebalance.trades.select_related("strategy"))
        if as_json:
            names = ("id", "status", "trigger", "reason", "turnover", "cost", "checks", "effect")
            document = {name: getattr(rebalance, name) for name in names}
            document["trades"] = [
                {"strategy": trade.strategy.name, "amount": trade.amount, "done": trade.done_at}
                for trade in trades
            ]
            self.stdout.write(json.dumps(jsonable(document), indent=2, default=str))
            return
        for trade in trades:
            done = "done" if trade.done_at else trade.note or "to do"
            self.stdout.write(f"{trade.strategy.name:<40}{trade.amount:>16,.2f}  {done}")
        for check in rebalance.blocking_checks:
            self.stdout.write(f"! {check['message']}")
        self.stdout.write(f"{rebalance.get_status_display()}, {rebalance.cost:,.2f} expected cost")


def _why_not(portfolio: Portfolio) -> str:
    waiting = portfolio.rebalances.filter(status__in=UNDECIDED).first()
    if waiting is None:
        return "No trigger asks for a rebalance."
    return f"Rebalance {waiting.pk} is {waiting.get_status_display().lower()}; it comes first."


def _found(options: dict[str, Any]) -> Portfolio:
    wanted = options["portfolio"]
    portfolios = Portfolio.objects.select_related("owner")
    if options["owner"]:
        portfolios = portfolios.filter(owner__username=options["owner"])
    found = [one for one in portfolios if wanted in (one.name, str(one.pk))]
    if len(found) != 1:
        which = "several portfolios" if found else "no portfolio"
        raise CommandError(f"There is {which} called {wanted!r}; give an id.")
    return found[0]
