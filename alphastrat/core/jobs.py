"""Work for the workers: asked for on commit, claimed once, resumed after a crash.

The Job row is the truth. A message in the broker only wakes a worker: it may be lost or come
twice, and the claim decides. `attempts` is the fencing number: a worker that was given up for
dead and wakes again can no longer write.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction
from django.db.models import F
from django.urls import reverse
from django.utils.timezone import now
from django_q.brokers import get_broker
from django_q.tasks import async_task
from redis.exceptions import RedisError

from alphastrat.core import messenger
from alphastrat.core.errors import AlphaStratError, ConflictError, ProviderError
from alphastrat.core.job_progress import (
    JobCancelled,
    JobProgress,
    JobSuperseded,
    announce,
    announce_end,
)
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import CANCELLED_BY_USER, Job

logger = logging.getLogger(__name__)

MAX_SETBACKS = 5
LOST_AFTER = timedelta(seconds=20)
CLOCK_TOLERANCE = timedelta(seconds=5)
RESEND_AFTER = timedelta(seconds=30)
ENDED_EVERY_SECONDS = 0.2
MESSENGER_SECONDS = 5.0

_CLAIM = """
    UPDATE core_job SET status = 'running', attempts = attempts + 1,
        started_at = %(at)s, heartbeat_at = %(at)s, worker = %(worker)s
    WHERE id = %(job)s AND status = 'queued' AND due_at <= %(due)s
    RETURNING *
"""

TaskFunction = Callable[..., Any]


_tasks: dict[str, TaskFunction] = {}
_warm_ups: list[Callable[[], None]] = []


def job_task(function: TaskFunction) -> TaskFunction:
    """Publish a function of `<app>/tasks.py` as work for the workers.

    It takes a JobProgress and keyword arguments that JSON can hold, and may run more than once.
    """
    _tasks[f"{function.__module__}.{function.__name__}"] = function
    return function


def on_worker_start(function: Callable[[], None]) -> Callable[[], None]:
    """Register what a worker rehearses, so that its first job is as fast as any.

    Run before the workers are forked, and again in each of them.
    """
    _warm_ups.append(function)
    return function


def warm_up() -> None:
    """Rehearse what is registered with `on_worker_start`."""
    # The first address that is asked for loads every view and API schema.
    reverse("core:job-list")
    with suppress(TimeoutError):
        messenger.send("nobody", {"type": "rehearsal"}).result(timeout=MESSENGER_SECONDS)
    for function in _warm_ups:
        function()


def enqueue(
    task: str,
    *,
    key: str,
    title: str,
    owner: Any = None,
    result_url: str = "",
    **arguments: Any,
) -> Job:
    """Ask for `task` to be run once the transaction commits.

    `owner` is a user, or the key of one where the row is not at hand. While a job with the same
    `key` is active, that job is returned and nothing is added.
    """
    _task(task)
    at = now()
    try:
        with transaction.atomic():
            job = Job.objects.create(
                owner_id=getattr(owner, "pk", owner),
                task=task,
                key=key,
                title=title,
                result_url=result_url,
                arguments=jsonable(arguments),
                due_at=at,
                sent_at=at,
            )
    except IntegrityError:
        active = Job.objects.active().filter(key=key).first()
        if active is not None:
            return active
        raise ConflictError("The same work has just ended; ask again.") from None
    announce(job)
    transaction.on_commit(partial(_send, job))
    return job


def retry(job: Job, *, at: datetime) -> Job:
    """Run a failed or cancelled job again, from its checkpoint."""
    try:
        claimed = Job.objects.filter(pk=job.pk, status__in=["failed", "cancelled"]).update(
            status=Job.Status.QUEUED,
            error="",
            error_code="",
            setbacks=0,
            sent_at=at,
            due_at=at,
            started_at=None,
            finished_at=None,
            cancel_requested_at=None,
            step="",
        )
    except IntegrityError:
        raise ConflictError("The same work is already running as another job.") from None
    if not claimed:
        raise ConflictError("Only a job that has failed or was cancelled can be run again.")
    job.refresh_from_db()
    announce(job)
    transaction.on_commit(partial(_send, job))
    return job


@transaction.atomic
def cancel(job: Job, *, at: datetime) -> None:
    """Ask `job` to stop; one that no worker has claimed yet ends here."""
    job.request_cancel(at=at)
    if job.status == Job.Status.CANCELLED:
        announce_end(job)


def run_job(job_id: str) -> None:
    """Claim and run a job; what a worker calls. A second delivery does nothing."""
    job = _claim(job_id, at=now())
    if job is None:
        return
    structlog.contextvars.bind_contextvars(job=job_id)
    progress = JobProgress(job)
    try:
        with progress.beating():
            result = _task(job.task)(progress, **job.arguments)
        progress.finish(Job.Status.SUCCEEDED, result=jsonable(result))
    except JobSuperseded:
        logger.warning("job superseded")
    except JobCancelled:
        progress.finish(Job.Status.CANCELLED, error=CANCELLED_BY_USER)
    except ProviderError as error:
        _retry_or_fail(job, progress, error)
    except AlphaStratError as error:
        progress.finish(Job.Status.FAILED, error=str(error), error_code=error.code)
    except Exception:
        logger.exception("job failed")
        progress.finish(
            Job.Status.FAILED,
            error="An unexpected error; the log of the worker has the details under this job's id.",
            error_code="unexpected",
        )
    finally:
        structlog.contextvars.unbind_contextvars("job")


def rehearse_job(job_id: str) -> None:
    """Run a job that nobody else can see: of a transaction that will be rolled back."""
    job = _claim(job_id, at=now())
    if job is None:
        raise ConflictError("Only a queued job can be rehearsed.")
    progress = JobProgress(job)
    result = _task(job.task)(progress, **job.arguments)
    progress.finish(Job.Status.SUCCEEDED, result=jsonable(result))


def run_to_end(job_id: str) -> None:
    """Run a job in this process; where a worker was quicker, wait for its end."""
    run_job(job_id)
    while Job.objects.active().filter(pk=job_id).exists():
        time.sleep(ENDED_EVERY_SECONDS)
        run_job(job_id)  # its worker may have been lost


def requeue_lost_jobs(*, at: datetime) -> int:
    """Send again what a dead worker or a lost message left behind; return how many jobs.

    A killed worker cannot say so: its heartbeat stops. A broker may forget a message: the job
    stays queued although no message waits.
    """
    sent = 0
    for job in Job.objects.lost(before=at - LOST_AFTER):
        sent += _give_back(job, at=at)
    if _broker_is_empty():
        for job in Job.objects.waiting(before=at - RESEND_AFTER):
            if Job.objects.filter(pk=job.pk, sent_at=job.sent_at).update(sent_at=at):
                _send(job)
                sent += 1
    return sent


def _claim(job_id: str, *, at: datetime) -> Job | None:
    terms = {
        "job": job_id,
        "at": at,
        "due": at + CLOCK_TOLERANCE,
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }
    return next(iter(Job.objects.raw(_CLAIM, terms, using=DEFAULT_DB_ALIAS)), None)


def _give_back(job: Job, *, at: datetime) -> int:
    lost = Job.objects.filter(pk=job.pk, status=Job.Status.RUNNING, attempts=job.attempts)
    if job.setbacks >= MAX_SETBACKS:
        lost.update(
            status=Job.Status.FAILED,
            finished_at=at,
            error=f"The worker was lost {job.setbacks + 1} times while running this job.",
            error_code="worker_lost",
        )
        job.refresh_from_db()
        announce_end(job)
        return 0
    if not lost.update(
        status=Job.Status.QUEUED,
        sent_at=at,
        due_at=at,
        started_at=None,
        setbacks=F("setbacks") + 1,
    ):
        return 0
    logger.warning("job given back", extra={"job": str(job.pk), "worker": job.worker})
    _send(job)
    return 1


def _retry_or_fail(job: Job, progress: JobProgress, error: ProviderError) -> None:
    if error.permanent or job.setbacks >= MAX_SETBACKS:
        progress.finish(Job.Status.FAILED, error=str(error), error_code=error.code)
    else:
        progress.postpone(timedelta(seconds=30 * 2**job.setbacks), reason=str(error))


def _task(path: str) -> TaskFunction:
    if path not in _tasks:
        module, _, _ = path.rpartition(".")
        with suppress(ImportError):
            importlib.import_module(module)
    if path not in _tasks:
        raise ValueError(f"{path!r} is not a registered job task")
    return _tasks[path]


def _send(job: Job) -> None:
    try:
        async_task(run_job, str(job.pk), task_name=job.title[:100])
    except RedisError:
        # The row stays queued: the sweep sends it when the broker is back.
        logger.warning("broker unreachable", extra={"job": str(job.pk)})


def _broker_is_empty() -> bool:
    try:
        return int(get_broker().queue_size()) == 0
    except RedisError:
        return False
