"""The first page on the sample market: queries, server time, weight.

python -m benchmarks.overview_page
"""

from __future__ import annotations

import gzip
import time
from statistics import median
from typing import Any

from benchmarks.scratch import scratch_database

REPEATS = 30
LIMITS = "limits: 12 queries, 100 ms warm, 150 KB compressed without the chart bundle"


def measure() -> None:
    """Seed a demo account and ask for its first page again and again."""
    import brotli
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.utils.timezone import now

    from alphastrat.core import jobs
    from alphastrat.core.models import Job
    from alphastrat.marketdata.services.sample_market import load_sample_market
    from strategies.services import demo

    call_command("collectstatic", interactive=False, verbosity=0)
    load_sample_market(at=now())
    user = get_user_model().objects.create_user("bench", password="bench", role="trader")
    demo.seed(user, at=now())
    for job in Job.objects.active():
        jobs.run_job(str(job.pk))
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.get("/")
    statements: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        page = client.get("/")
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        client.get("/")
        times.append(time.perf_counter() - began)
    html = len(gzip.compress(page.content, 6))
    static = settings.BASE_DIR / "static"
    files = [static / "vendor/htmx/htmx-4.0.1.min.js", *static.glob("css/*.css")]
    files += [*static.glob("js/*.js"), static / "vendor/plotly/plotly.css"]
    weight = html + sum(len(brotli.compress(path.read_bytes())) for path in files)
    print(f"status {page.status_code}, {len(statements)} queries")
    print(f"server time, median of {REPEATS}: {median(times) * 1e3:.1f} ms")
    print(f"page {html / 1e3:.1f} KB gzip, with its files {weight / 1e3:.1f} KB")
    print(LIMITS)


if __name__ == "__main__":
    with scratch_database():
        measure()
