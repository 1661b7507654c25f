"""Check everything the product needs and say what to do about what is wrong."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from alphastrat.core.doctor import Finding, Verdict, run_checks, worst
from alphastrat.core.jsonable import jsonable

MARKS = {Verdict.OK: "ok", Verdict.WARNING: "WARNING", Verdict.ERROR: "ERROR"}


class Command(BaseCommand):
    help = "Check Python, libraries, servers, processes, disk, mail and keys."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        findings = run_checks(at=at)
        verdict = worst(findings)
        if options["json"]:
            report = {"status": verdict, "checked_at": at, "checks": findings}
            self.stdout.write(json.dumps(jsonable(report), indent=2))
        else:
            self._write_table(findings)
        if verdict is Verdict.ERROR:
            raise SystemExit(1)

    def _write_table(self, findings: list[Finding]) -> None:
        width = max(len(finding.name) for finding in findings)
        styles = {
            Verdict.OK: self.style.SUCCESS,
            Verdict.WARNING: self.style.WARNING,
            Verdict.ERROR: self.style.ERROR,
        }
        for finding in findings:
            mark = styles[finding.status](f"{MARKS[finding.status]:<7}")
            self.stdout.write(f"{mark}  {finding.name:<{width}}  {finding.detail}")
            if finding.remedy:
                self.stdout.write(f"{'':<7}  {'':<{width}}  → {finding.remedy}")
