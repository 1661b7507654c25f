"""Optimise a portfolio from a shell."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core.errors import AlphaStratError, InvalidInput
from portfolio.models import Optimisation, Portfolio
from portfolio.quant.allocation_problem import Method
from portfolio.quant.requirements import percent
from portfolio.services import portfolio_optimizer
from portfolio.services.allocation_options import options_of
from portfolio.services.applied_weights import apply_and_propose

NUMBERS = (
    ("target", float, "target return or volatility a year, a fraction"),
    ("max-weight", float, "largest weight of one strategy, a fraction"),
    ("min-weight", float, "smallest weight of a strategy that is included"),
    ("cash", float, "fraction that stays uninvested"),
    ("max-strategies", int, "most strategies to include"),
    ("max-turnover", float, "largest sum of changes of weights"),
    ("window-days", int, "days of history"),
    ("seed", int, "seed of everything drawn"),
)


class Command(BaseCommand):
    """Compute weights here, print them, and keep the answer."""

    help = "Optimise a portfolio by name or id; settings left out are those stored with it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("portfolio", help="name or id")
        parser.add_argument("--method", choices=[one.value for one in Method])
        parser.add_argument("--apply", action="store_true", help="use the weights as targets")
        parser.add_argument(
            "--propose", action="store_true", help="use the weights and propose the rebalance"
        )
        for name, kind, text in NUMBERS:
            parser.add_argument(f"--{name}", type=kind, help=text)

    def handle(self, *_: Any, **given: Any) -> None:
        portfolio = _find(given["portfolio"])
        names = ["method", *(name.replace("-", "_") for name, *_ in NUMBERS)]
        changes = {name: given[name] for name in names if given[name] is not None}
        at = now()
        try:
            options = options_of({**portfolio.allocation_settings, **changes})
        except AlphaStratError as error:
            details = "; ".join(f"{name}: {text}" for name, text in error.fields.items())
            raise CommandError(f"{error} {details}".strip()) from error
        asked = Optimisation.objects.create(
            portfolio=portfolio, method=options.method, options=options.as_json(), requested_at=at
        )
        found = portfolio_optimizer.run_optimisation(str(asked.pk), None, at=at)
        if found.status != "succeeded":
            raise CommandError(found.failure_reason)
        self._print(found)
        if given["propose"]:
            self._propose(found)
        elif given["apply"]:
            portfolio_optimizer.apply_targets(found)
            self.stdout.write("These weights are the targets now.")

    def _propose(self, found: Optimisation) -> None:
        try:
            proposal = apply_and_propose(found, by=None, at=now())
        except InvalidInput as error:
            self.stdout.write(str(error))
        except AlphaStratError as error:
            raise CommandError(str(error)) from error
        else:
            self.stdout.write(f"Proposed: rebalance {proposal.pk}, {proposal.cost:.2f} of cost.")

    def _print(self, found: Optimisation) -> None:
        result = found.result or {}
        rows = sorted(result["strategies"], key=lambda row: -row["weight"])
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            self.stdout.write(
                f"{row['name']:<{width}}  {percent(row['weight']):>7}  "
                f"risk {percent(row['risk_share'] or 0.0):>7}"
            )
        worth = result["chosen"]
        self.stdout.write(f"{'cash':<{width}}  {percent(result['cash']):>7}")
        self.stdout.write(
            f"expected {percent(worth['expected_return'])} a year, volatility "
            f"{percent(worth['volatility'])}, diversification {worth['score'] or 0:.0f} of 100"
        )
        for note in result["notes"]:
            self.stdout.write(note)


def _find(text: str) -> Portfolio:
    found = Portfolio.objects.filter(name=text)
    with suppress(ValueError):
        found = Portfolio.objects.filter(pk=UUID(text))
    portfolios = list(found[:2])
    if len(portfolios) != 1:
        which = "several portfolios" if portfolios else "no portfolio"
        raise CommandError(f"There is {which} called {text!r}; give an id.")
    return portfolios[0]
