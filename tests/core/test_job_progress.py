"""A job that is quiet for long still shows how far it is."""

from __future__ import annotations

import time

import pytest
from django.utils.timezone import now

from alphastrat.core import job_progress
from alphastrat.core.job_progress import JobProgress
from alphastrat.core.models import Job, LiveEvent
from tests.factories import make_job


@pytest.mark.django_db(transaction=True)
def test_the_last_word_of_a_quiet_job_is_written_by_its_sign_of_life(monkeypatch):
    monkeypatch.setattr(job_progress, "FIRST_BEAT_SECONDS", 0.05)
    job = make_job(status="running", attempts=1, started_at=now(), heartbeat_at=now())
    progress = JobProgress(job)
    with progress.beating():
        progress.update(1, 3, "Reading bars")
        assert Job.objects.get(pk=job.pk).done == 0  # too early for a write of its own
        deadline = time.monotonic() + 10
        while Job.objects.get(pk=job.pk).done == 0:
            assert time.monotonic() < deadline, "the sign of life wrote nothing"
            time.sleep(0.02)
    written = Job.objects.get(pk=job.pk)
    assert (written.done, written.total, written.step) == (1, 3, "Reading bars")
    news = LiveEvent.objects.filter(topic=f"job:{job.pk}").latest("sequence")
    assert news.payload["done"] == 1
