"""Jobs slow enough to be killed in the middle."""

from __future__ import annotations

import time

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from alphastrat.core.models import LiveTopic

N_STEPS = 20


@job_task
def count_slowly(progress: JobProgress, *, marker: str) -> dict[str, int]:
    """Count to twenty, remembering every step; each step is written once by its key."""
    start = progress.checkpoint.get("step", 0)
    for step in range(start, N_STEPS):
        LiveTopic.objects.get_or_create(topic=f"{marker}:{step}", defaults={"head": 0})
        progress.save_checkpoint({"step": step + 1})
        progress.update(step + 1, N_STEPS)
        time.sleep(0.1)
    return {"started_at_step": start}
