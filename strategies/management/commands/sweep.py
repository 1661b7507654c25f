"""Run a parameter sweep here and now, and print what it found."""

from __future__ import annotations

import json
from typing import Any

from alphastrat.core.formatting import format_value
from alphastrat.core.jsonable import jsonable
from strategies.management.search_command import SearchCommand
from strategies.models import Sweep
from strategies.models.sweep import Method, Objective
from strategies.services import sweeps
from strategies.services.sweep_findings import find as find_faults
from strategies.services.sweep_judging import luck_of

SHOWN = (
    ("best_sharpe", "ratio"),
    ("plateau_sharpe", "ratio"),
    ("stability", "percent"),
    ("overfitting_probability", "percent"),
    ("n_evaluated", "count"),
)


class Command(SearchCommand):
    """Run one sweep; exits with 1 and the reason if it has no result."""

    estimated = ("n_sets", "n_chunks", "seconds", "peak_bytes")
    help = "Try many parameter sets on the same bars and say what the best is worth."

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument("--method", choices=Method.values, default=Method.GRID.value)
        parser.add_argument("--objective", choices=Objective.values, default="sharpe")
        parser.add_argument("--budget", type=int, default=200, help="sets of a Bayesian sweep")

    def plan(self, options: dict[str, Any]) -> sweeps.SweepPlan:
        return sweeps.check(self._asked(options))

    def plan_words(self, plan: sweeps.SweepPlan) -> str:
        chunks = "1 chunk" if plan.n_chunks == 1 else f"{plan.n_chunks:,} chunks"
        return (
            f"{plan.n_sets:,} sets in {chunks}, about "
            f"{format_value('duration', plan.seconds)}, {format_value('bytes', plan.peak_bytes)}"
        )

    def ask(self, owner: Any, options: dict[str, Any], version: Any, at: Any) -> Sweep:
        return sweeps.request_sweep(owner, self._asked(options), at=at, version=version)

    def document(self, search: Any) -> dict[str, Any]:
        luck = luck_of(search)
        names = ("id", "title", "status", "data_fingerprint", "code_version", "summary")
        document = {name: getattr(search, name) for name in (*names, *dict(SHOWN))}
        return {**document, "luck": luck, "findings": find_faults(search, luck)}

    def words(self, search: Any) -> str:
        lines = [
            f"{name.replace('_', ' '):<26}{format_value(form, getattr(search, name)).text:>12}"
            for name, form in SHOWN
        ]
        chosen = [
            f"{name:<26}{json.dumps(jsonable(search.summary[name]['parameters']))}"
            for name in ("best", "plateau")
        ]
        found = [
            f"{finding['severity']}: {finding['text']}"
            for finding in find_faults(search, luck_of(search))
        ]
        return "\n".join([search.title, *lines, *chosen, *found, search.get_absolute_url()])

    def _asked(self, options: dict[str, Any]) -> sweeps.SweepRequest:
        return sweeps.SweepRequest(
            options["specification"],
            options["space"],
            method=options["method"],
            objective=options["objective"],
            budget=options["budget"],
        )
