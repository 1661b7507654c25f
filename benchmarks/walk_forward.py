"""Ten folds of a hundred parameter sets, from queued job to stored result, in a warm worker.

python -m benchmarks.walk_forward

Five years of daily bars of one instrument; limit: 10 s.
"""

from __future__ import annotations

import os
from datetime import date
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import scratch_database, seconds

REPEATS = 3


def main() -> None:
    """Print the times."""
    with scratch_database():
        from django.utils.timezone import now

        from alphastrat.accounts.models import User
        from alphastrat.core import jobs
        from strategies import tasks
        from strategies.models import Trial
        from strategies.services.specification import Specification
        from strategies.services.walk_forwards import WalkForwardRequest, request_walk_forward
        from tests.strategies.builders import make_market

        jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
        owner = User.objects.create_user("bench", password="bench", role="trader")
        make_market("AAPL")
        print(f"warming the worker ({tasks.__name__}): {seconds(jobs.warm_up):.2f} s")
        asked = WalkForwardRequest(
            Specification(
                plugin="moving_average_cross",
                symbols=("AAPL",),
                start=date(2013, 2, 8),
                end=date(2018, 2, 7),
                costs={"commission_bps": 1.0, "slippage_bps": 2.0},
            ),
            {
                "fast": {"low": 4, "high": 22, "step": 2},
                "slow": {"low": 30, "high": 75, "step": 5},
            },
            n_folds=10,
        )
        times = []
        for _ in range(REPEATS):
            analysis = request_walk_forward(owner, asked, at=now())
            times.append(seconds(lambda run=analysis: jobs.run_job(str(run.job_id))))
            analysis.refresh_from_db()
            if analysis.status != "succeeded":
                raise RuntimeError(analysis.failure_reason)
        print(
            f"{analysis.n_folds} folds x {analysis.n_sets} sets, {analysis.n_bars} bars: "
            f"{median(times[1:]):.2f} s from claim to stored (first {times[0]:.2f} s), limit 10 s; "
            f"{Trial.objects.count()} trials counted"
        )


if __name__ == "__main__":
    main()
