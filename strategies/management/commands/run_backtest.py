"""Run a backtest here and now, and print what it found."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.errors import AlphaStratError
from alphastrat.core.formatting import count, format_value
from alphastrat.core.jsonable import jsonable
from strategies.management import what_to_test
from strategies.models import BacktestRun
from strategies.services.backtesting import request_backtest

SHOWN = (
    ("total_return", "signed_percent"),
    ("annual_return", "signed_percent"),
    ("volatility", "percent"),
    ("sharpe_ratio", "ratio"),
    ("sortino_ratio", "ratio"),
    ("max_drawdown", "signed_percent"),
    ("win_rate", "percent"),
    ("profit_factor", "ratio"),
    ("n_trades", "count"),
)


class Command(BaseCommand):
    """Run one backtest; exits with 1 and the reason if it has no result."""

    help = "Run a backtest of a plug-in or a stored strategy and store the result."

    def add_arguments(self, parser: CommandParser) -> None:
        what_to_test.add_arguments(parser)
        parser.add_argument("--engine", default="simulator", choices=["simulator", "vectorbt"])

    def handle(self, *args: Any, **options: Any) -> None:
        owner = what_to_test.owner(options)
        try:
            run = self._run(owner, options)
        except AlphaStratError as error:
            raise what_to_test.refusal(error) from None
        if run.status != BacktestRun.Status.SUCCEEDED:
            raise CommandError(run.failure_reason or f"The run is {run.status}.")
        self.stdout.write(_document(run) if options["json"] else _words(run))

    def _run(self, owner: Any, options: dict[str, Any]) -> BacktestRun:
        asked, version = what_to_test.specification(owner, options, engine=options["engine"])
        self.stderr.write("Checking")
        run = request_backtest(owner, asked, at=now(), version=version)
        if run.job is None:
            raise CommandError("The job was not stored.")
        self.stderr.write(f"Running {run.title}")
        jobs.run_to_end(str(run.job.pk))
        run.refresh_from_db()
        self.stderr.write(f"{run.status.capitalize()}: {count(run.n_bars).text} bars")
        return run


def _document(run: BacktestRun) -> str:
    names = ("id", "title", "status", "data_fingerprint", "code_version", "findings")
    document = {name: getattr(run, name) for name in names}
    document["metrics"] = run.metrics["strategy"]
    return json.dumps(jsonable(document), indent=2)


def _words(run: BacktestRun) -> str:
    lines = [
        f"{name.replace('_', ' '):<16}{format_value(form, getattr(run, name)).text:>12}"
        for name, form in SHOWN
    ]
    found = [f"{finding['severity']}: {finding['text']}" for finding in run.findings]
    return "\n".join([run.title, *lines, *found, run.get_absolute_url()])
