"""Bring the scheduler up to the list of recurring jobs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from alphastrat.core import schedules


class Command(BaseCommand):
    help = "Make the scheduler's rows those of alphastrat/core/schedules.py."

    def handle(self, *args: Any, **options: Any) -> None:
        n_changed, n_gone = schedules.sync(at=now())
        self.stdout.write(f"{n_changed} recurring jobs set, {n_gone} removed.")
