"""What a running job says of itself: progress, checkpoints, signs of life, its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.jsonable import jsonable
from alphastrat.core.live import authorize_topic, publish_to
from alphastrat.core.models import Job, JobStatus

BEAT_SECONDS = 3.0
FIRST_BEAT_SECONDS = 0.7
WRITE_SECONDS = 0.5


class JobCancelled(BaseException):
    """The user asked the job to stop. Not an Exception, so that no task swallows it."""


class JobSuperseded(BaseException):
    """Another worker has the job: this one must not write any more."""


class JobProgress:
    """The voice of one attempt at a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.checkpoint: dict[str, Any] = job.checkpoint
        self._written_at = time.monotonic()
        self._is_pending = False
        self._mine = Job.objects.filter(pk=job.pk, attempts=job.attempts, status=Job.Status.RUNNING)

    def update(self, done: int, total: int | None = None, step: str = "") -> None:
        """Say how far the job is. Written at most twice a second, so call it freely.

        Raises JobCancelled when the user has asked the job to stop.
        """
        known = self.job
        known.total = total if total is not None else known.total
        known.done = done if known.total is None else min(done, known.total)
        known.step = (step or known.step)[:200]
        self._is_pending = True
        if time.monotonic() - self._written_at >= WRITE_SECONDS:
            self._write(**self._progress())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Keep `state`: after a crash the next attempt finds it in `checkpoint`."""
        self.checkpoint = jsonable(state)
        self._write(checkpoint=self.checkpoint, **self._progress())

    def finish(
        self, status: JobStatus, *, result: Any = None, error: str = "", error_code: str = ""
    ) -> None:
        """End the job and tell whoever watches."""
        ending = {
            "status": status,
            "result": result,
            "error": error,
            "error_code": error_code,
            "finished_at": now(),
            **self._progress(),
        }
        if status == JobStatus.SUCCEEDED and self.job.total is not None:
            # The total may have been an estimate, and the last step is no news any more.
            ending |= {"done": self.job.total, "step": ""}
        with transaction.atomic():
            if not self._mine.update(**ending):
                return
            for name, value in ending.items():
                setattr(self.job, name, value)
            announce_end(self.job)

    def postpone(self, delay: timedelta, *, reason: str) -> None:
        """Give the job back, to be tried again after `delay`."""
        at = now()
        self._mine.update(
            status=Job.Status.QUEUED,
            due_at=at + delay,
            sent_at=at,
            started_at=None,
            setbacks=F("setbacks") + 1,
            step=f"Trying again: {reason}"[:200],
        )
        self.job.refresh_from_db()
        announce(self.job)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Show signs of life from another thread while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=BEAT_SECONDS)

    def _beat(self, stop: threading.Event) -> None:
        # The first beat comes late: most jobs end before a second connection would be worth it.
        wait = FIRST_BEAT_SECONDS
        try:
            while not stop.wait(wait):
                wait = BEAT_SECONDS
                values = self._progress() if self._is_pending else {}
                # The row stays locked until the news is out: the end cannot overtake it.
                with transaction.atomic():
                    if not self._mine.update(heartbeat_at=now(), **values):
                        return
                    if values:
                        announce(self.job)
        finally:
            connection.close()

    def _progress(self) -> dict[str, Any]:
        self._is_pending = False
        return {"done": self.job.done, "total": self.job.total, "step": self.job.step}

    def _write(self, **values: Any) -> None:
        self._written_at = time.monotonic()
        with transaction.atomic():
            wanted = self._mine.filter(cancel_requested_at__isnull=True)
            if wanted.update(heartbeat_at=now(), **values):
                announce(self.job)
                return
        if self._mine.exists():
            raise JobCancelled
        raise JobSuperseded


def announce_end(job: Job) -> None:
    """Publish that `job` has ended, and tell those who listen for it."""
    announce(job)
    events.send_on_commit(
        events.job_finished, job_id=str(job.pk), task=job.task, status=str(job.status)
    )


def announce(job: Job) -> None:
    """Publish the state of `job` on its own topic and its owner's."""
    at = now()
    remaining = job.remaining(at=at)
    payload = {
        "id": str(job.pk),
        "state": job.status,
        "title": job.title,
        "done": job.done,
        "total": job.total,
        "eta_s": remaining.total_seconds() if remaining is not None else None,
        "step": job.step,
        "error": job.error,
    }
    topics = [f"job:{job.pk}"]
    if job.owner_id is not None:
        topics.append(f"jobs:u{job.owner_id}")
    publish_to(topics, "job", payload)


@authorize_topic("job")
def may_watch_job(user: Any, job_id: str) -> bool:
    """Say whether a person may follow a job: whoever may see it."""
    try:
        return Job.objects.for_user(user).filter(pk=job_id).exists()
    except ValidationError:
        return False
