"""Look over stored bars: arrays, gaps, suspected splits."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, QuerySet, Sum
from django.utils.timezone import now

from alphastrat.core.jsonable import jsonable
from alphastrat.core.terminal import TerminalProgress
from alphastrat.marketdata.models import BarDay, BarSeries, QualityFinding
from alphastrat.marketdata.services.inspection import Inspection, inspect_series
from alphastrat.quant.types import Timeframe

SHOWN = 40


class Command(BaseCommand):
    help = "Look over stored bars; status 1 if --strict and something is found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("symbols", nargs="*", help="by default every instrument")
        parser.add_argument("--timeframe", choices=[t.value for t in Timeframe])
        parser.add_argument("--source")
        parser.add_argument("--strict", action="store_true", help="fail if anything is found")
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        series_ids = list(self._wanted(options).values_list("pk", flat=True))
        if not series_ids:
            raise CommandError("There are no such bars.")
        progress = TerminalProgress(self.stderr, total=len(series_ids), unit="series")
        inspection = inspect_series(
            series_ids,
            at=now(),
            on_progress=lambda n_series: progress.update(n_series, "Looking over bars"),
        )
        progress.close()
        findings = list(
            QualityFinding.objects.filter(series__in=series_ids, resolved_at__isnull=True)
            .select_related("series__instrument")
            .order_by("series__instrument__symbol", "start_at")
        )
        coverage = BarDay.objects.filter(series__in=series_ids).aggregate(
            n_days=Count("day"), n_bars=Sum("n_bars")
        )
        self._answer(inspection, coverage, findings, as_json=options["json"])
        if options["strict"] and findings:
            raise CommandError(f"{len(findings):,} findings stand.")

    def _wanted(self, options: dict[str, Any]) -> QuerySet[BarSeries]:
        chosen = BarSeries.objects.filter(bar_count__gt=0)
        if options["symbols"]:
            symbols = [symbol.upper() for symbol in options["symbols"]]
            known = set(chosen.values_list("instrument__symbol", flat=True))
            missing = sorted(set(symbols) - known)
            if missing:
                raise CommandError(f"There are no bars of {', '.join(missing)}.")
            chosen = chosen.filter(instrument__symbol__in=symbols)
        for name in ("timeframe", "source"):
            if options[name]:
                chosen = chosen.filter(**{name: options[name]})
        return chosen

    def _answer(
        self,
        inspection: Inspection,
        coverage: dict[str, int],
        findings: list[QualityFinding],
        *,
        as_json: bool,
    ) -> None:
        if as_json:
            rows = [record(finding) for finding in findings]
            answer = {"summary": inspection, "coverage": coverage, "findings": rows}
            self.stdout.write(json.dumps(jsonable(answer), indent=2))
            return
        for finding in findings[:SHOWN]:
            series = finding.series
            place = f"{series.instrument.symbol:<8} {series.source:<8}"
            self.stdout.write(f"{place} {finding}  {finding.detail}")
        if len(findings) > SHOWN:
            self.stdout.write(f"… and {len(findings) - SHOWN:,} more; --json lists all.")
        self.stdout.write(
            f"{inspection.n_series:,} series with {coverage['n_bars']:,} bars on "
            f"{coverage['n_days']:,} days: {inspection.n_gaps:,} gaps, "
            f"{inspection.n_suspected_splits:,} suspected splits."
        )


def record(finding: QualityFinding) -> dict[str, Any]:
    """Return a finding for programs."""
    return {
        "symbol": finding.series.instrument.symbol,
        "timeframe": finding.series.timeframe,
        "source": finding.series.source,
        "kind": finding.kind,
        "start_at": finding.start_at,
        "end_at": finding.end_at,
        "n_bars": finding.n_bars,
        "detail": finding.detail,
    }
