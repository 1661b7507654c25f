"""Run a walk-forward analysis here and now, and print what it found."""

from __future__ import annotations

import json
from typing import Any

from alphastrat.core.formatting import format_value
from alphastrat.core.jsonable import jsonable
from strategies.management.search_command import SearchCommand
from strategies.models import WalkForward
from strategies.models.walk_forward import Scheme, Selection
from strategies.services import walk_forwards
from strategies.services.verdicts import judge

SHOWN = (
    ("efficiency", "percent"),
    ("sharpe_efficiency", "percent"),
    ("sharpe_ratio", "ratio"),
    ("total_return", "signed_percent"),
    ("max_drawdown", "signed_percent"),
    ("n_trades", "count"),
    ("n_evaluated", "count"),
)


class Command(SearchCommand):
    """Run one walk-forward; exits with 1 and the reason if it has no result."""

    estimated = ("n_trials", "seconds", "peak_bytes")
    help = "Choose parameters in sample and trade them out of sample, fold after fold."

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument("--scheme", choices=Scheme.values, default=Scheme.ROLLING.value)
        parser.add_argument("--selection", choices=Selection.values, default=Selection.PEAK.value)
        parser.add_argument("--folds", type=int, default=6)
        parser.add_argument("--train-share", type=float, default=0.7, help="in sample, of a fold")
        parser.add_argument("--purge", type=int, help="bars left out before a test")
        parser.add_argument("--embargo", type=int, help="bars left out in addition")

    def plan(self, options: dict[str, Any]) -> walk_forwards.WalkForwardPlan:
        return walk_forwards.check(self._asked(options))

    def plan_words(self, plan: walk_forwards.WalkForwardPlan) -> str:
        return (
            f"{plan.n_trials:,} trials, about {format_value('duration', plan.seconds)}, "
            f"{format_value('bytes', plan.peak_bytes)}"
        )

    def ask(self, owner: Any, options: dict[str, Any], version: Any, at: Any) -> WalkForward:
        return walk_forwards.request_walk_forward(
            owner, self._asked(options), at=at, version=version
        )

    def document(self, search: Any) -> dict[str, Any]:
        names = ("id", "title", "status", "data_fingerprint", "code_version", "folds", "summary")
        status, findings = judge(search)
        document = {name: getattr(search, name) for name in (*names, *dict(SHOWN))}
        return {**document, "verdict": status, "findings": findings}

    def words(self, search: Any) -> str:
        lines = [
            f"{name.replace('_', ' '):<20}{format_value(form, getattr(search, name)).text:>12}"
            for name, form in SHOWN
        ]
        folds = [
            f"fold {fold['number']:<3} Sharpe in {_ratio(fold['in_sample_sharpe'])}, out "
            f"{_ratio(fold['out_of_sample_sharpe'])}  {json.dumps(jsonable(fold['parameters']))}"
            for fold in search.folds
        ]
        found = [f"{finding['severity']}: {finding['text']}" for finding in judge(search)[1]]
        return "\n".join([search.title, *lines, *folds, *found, search.get_absolute_url()])

    def _asked(self, options: dict[str, Any]) -> walk_forwards.WalkForwardRequest:
        return walk_forwards.WalkForwardRequest(
            options["specification"],
            options["space"],
            scheme=options["scheme"],
            selection=options["selection"],
            n_folds=options["folds"],
            train_share=options["train_share"],
            purge=options["purge"],
            embargo=options["embargo"],
        )


def _ratio(value: Any) -> str:
    return format_value("ratio", value).text
