"""Jobs are claimed once, resumed after a crash, and never lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from alphastrat.core import events, jobs
from alphastrat.core.errors import ConflictError, InvalidInput, ProviderError
from alphastrat.core.job_progress import JobProgress
from alphastrat.core.models import Job, LiveEvent
from tests.factories import make_user

pytestmark = pytest.mark.django_db

ran: list[dict] = []


@jobs.job_task
def note(progress: JobProgress, *, n: int) -> dict:
    ran.append({"n": n, "checkpoint": dict(progress.checkpoint)})
    progress.update(n, total=n, step="noting")
    return {"n": n, "undefined": float("nan")}


@jobs.job_task
def refuse(progress: JobProgress) -> None:
    raise InvalidInput("The period is empty.", fields={"end": "Choose a later day."})


@jobs.job_task
def break_down(progress: JobProgress) -> None:
    raise RuntimeError("a bug")


@jobs.job_task
def ask_vendor(progress: JobProgress, *, permanent: bool) -> None:
    raise ProviderError("The vendor is away.", permanent=permanent)


@jobs.job_task
def checkpoint_then_die(progress: JobProgress) -> None:
    if not progress.checkpoint:
        progress.save_checkpoint({"fold": 3})
        raise KeyboardInterrupt
    ran.append(progress.checkpoint)


@pytest.fixture(autouse=True)
def _collected(sent):
    ran.clear()


@pytest.fixture
def commit(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


def ask(task, key="a", **arguments) -> Job:
    return jobs.enqueue(f"{__name__}.{task.__name__}", key=key, title="Work", **arguments)


def test_a_job_is_sent_only_when_the_transaction_commits(commit, sent):
    with commit():
        job = ask(note, n=2)
        assert sent == []
    assert sent == [str(job.pk)]


def test_a_job_that_succeeds_keeps_its_result_without_nan(sent):
    job = ask(note, n=2)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, job.result) == ("succeeded", {"n": 2, "undefined": None})
    assert (job.done, job.total, job.attempts) == (2, 2, 1)
    assert job.finished_at is not None


def test_a_job_delivered_twice_runs_once():
    job = ask(note, n=2)
    jobs.run_job(str(job.pk))
    jobs.run_job(str(job.pk))
    assert len(ran) == 1


def test_whoever_runs_a_job_here_waits_for_a_worker_that_was_quicker(monkeypatch):
    job = jobs.enqueue(f"{__name__}.note", key="a", title="Note", n=2)
    Job.objects.filter(pk=job.pk).update(status="running")
    waited: list[float] = []

    def end_elsewhere(seconds: float) -> None:
        waited.append(seconds)
        Job.objects.filter(pk=job.pk).update(status="succeeded", finished_at=now())

    monkeypatch.setattr(jobs.time, "sleep", end_elsewhere)
    jobs.run_to_end(str(job.pk))
    assert (len(waited), ran) == (1, [])


def test_asking_twice_with_one_key_gives_one_job():
    assert ask(note, n=1).pk == ask(note, n=1).pk
    assert Job.objects.count() == 1


def test_a_finished_job_does_not_block_its_key():
    first = ask(note, n=1)
    jobs.run_job(str(first.pk))
    assert ask(note, n=1).pk != first.pk


def test_an_expected_failure_is_told_in_its_own_words():
    job = ask(refuse)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, job.error_code, job.error) == (
        "failed",
        "invalid_input",
        "The period is empty.",
    )


def test_a_bug_is_logged_and_not_shown(caplog):
    job = ask(break_down)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.status == "failed"
    assert "a bug" not in job.error
    assert "job failed" in caplog.text


def test_a_passing_vendor_fault_is_tried_again_later():
    job = ask(ask_vendor, permanent=False)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.status == "queued"
    assert job.due_at > now() + timedelta(seconds=20)
    jobs.run_job(str(job.pk))  # an early delivery is not accepted
    job.refresh_from_db()
    assert job.attempts == 1


def test_a_permanent_vendor_fault_is_not_tried_again():
    job = ask(ask_vendor, permanent=True)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, job.error) == ("failed", "The vendor is away.")


def test_a_killed_worker_s_job_runs_again_from_its_checkpoint(sent):
    job = ask(checkpoint_then_die)
    with pytest.raises(KeyboardInterrupt):
        jobs.run_job(str(job.pk))
    assert jobs.requeue_lost_jobs(at=now()) == 0  # it may still live
    Job.objects.filter(pk=job.pk).update(heartbeat_at=now() - jobs.LOST_AFTER)
    assert jobs.requeue_lost_jobs(at=now()) == 1
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, job.attempts, ran) == ("succeeded", 2, [{"fold": 3}])


def test_a_job_that_keeps_killing_its_worker_is_given_up():
    job = ask(note, n=1)
    Job.objects.filter(pk=job.pk).update(
        status="running", setbacks=jobs.MAX_SETBACKS, heartbeat_at=now() - timedelta(minutes=5)
    )
    assert jobs.requeue_lost_jobs(at=now()) == 0
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "worker_lost")


def test_a_worker_given_up_for_dead_can_no_longer_write():
    job = ask(note, n=1)
    Job.objects.filter(pk=job.pk).update(status="running", attempts=1, started_at=now())
    job.refresh_from_db()
    ghost = JobProgress(job)
    Job.objects.filter(pk=job.pk).update(attempts=2)
    ghost.finish(Job.Status.SUCCEEDED, result={"stale": True})
    job.refresh_from_db()
    assert (job.status, job.result) == ("running", None)


def test_a_message_the_broker_lost_is_sent_again(sent):
    job = ask(note, n=1)
    assert jobs.requeue_lost_jobs(at=now() + timedelta(seconds=60)) == 1
    assert sent[-1] == str(job.pk)


def test_a_queued_job_is_cancelled_at_once_and_never_runs():
    job = ask(note, n=1)
    job.request_cancel(at=now())
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, ran) == ("cancelled", [])


def test_a_running_job_stops_at_its_next_sign_of_progress():
    job = ask(note, n=1)

    @jobs.job_task
    def cancel_midway(progress: JobProgress) -> None:
        progress.job.request_cancel(at=now())
        progress.save_checkpoint({})
        ran.append("went on")

    Job.objects.filter(pk=job.pk).update(
        task=f"{cancel_midway.__module__}.{cancel_midway.__name__}", arguments={}
    )
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.status, ran) == ("cancelled", [])


def test_only_an_ended_job_can_be_run_again():
    job = ask(note, n=1)
    with pytest.raises(ConflictError):
        jobs.retry(job, at=now())
    job.request_cancel(at=now())
    again = jobs.retry(job, at=now())
    jobs.run_job(str(again.pk))
    again.refresh_from_db()
    assert again.status == "succeeded"


def test_a_function_that_is_not_a_job_task_is_refused():
    with pytest.raises(ValueError, match="not a registered job task"):
        jobs.enqueue("os.remove", key="a", title="No")


def test_progress_is_announced_to_the_job_and_to_its_owner():
    alice = make_user("alice")
    job = ask(note, n=2, owner=alice)
    jobs.run_job(str(job.pk))
    for topic in (f"job:{job.pk}", f"jobs:u{alice.pk}"):
        events = LiveEvent.objects.filter(topic=topic).order_by("sequence")
        states = [event.payload["state"] for event in events]
        assert states[0] == "queued"
        assert states[-1] == "succeeded"


def test_whoever_listens_hears_of_every_end(commit):
    heard: list[tuple[str, str]] = []

    def listen(*, job_id: str, task: str, status: str, **_: object) -> None:
        heard.append((task.rpartition(".")[2], status))

    events.job_finished.connect(listen)
    try:
        with commit():
            jobs.run_job(str(ask(note, key="a", n=1).pk))
        with commit():
            jobs.cancel(ask(note, key="b", n=1), at=now())
        lost = ask(refuse, key="c")
        Job.objects.filter(pk=lost.pk).update(
            status="running", setbacks=jobs.MAX_SETBACKS, heartbeat_at=now() - jobs.LOST_AFTER
        )
        with commit():
            jobs.requeue_lost_jobs(at=now())
    finally:
        events.job_finished.disconnect(listen)
    assert heard == [("note", "succeeded"), ("note", "cancelled"), ("refuse", "failed")]
