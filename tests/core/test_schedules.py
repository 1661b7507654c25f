"""Recurring jobs: the scheduler has exactly those of the list, and starts each once at a time."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from alphastrat.core import jobs, schedules
from alphastrat.core.models import Job

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOURLY = schedules.Recurring("look", "some.task", "Look", timedelta(hours=1))

pytestmark = pytest.mark.django_db


def test_syncing_twice_keeps_the_next_time():
    assert schedules.sync((HOURLY,), at=AT) == (1, 0)
    assert schedules.sync((HOURLY,), at=AT + timedelta(minutes=50)) == (0, 0)
    assert Schedule.objects.get(name="look").next_run == AT + timedelta(hours=1)


def test_a_changed_interval_is_taken_over_and_a_removed_job_goes():
    schedules.sync((HOURLY,), at=AT)
    changed = schedules.Recurring("look", "some.task", "Look", timedelta(minutes=5))
    schedules.sync((changed,), at=AT)
    assert Schedule.objects.get(name="look").minutes == 5
    assert schedules.sync((), at=AT) == (0, 1)


def test_schedules_of_others_are_left_alone():
    Schedule.objects.create(name="mine", func="elsewhere.work", next_run=AT)
    schedules.sync((), at=AT)
    assert Schedule.objects.filter(name="mine").exists()


@pytest.mark.parametrize("recurring", schedules.RECURRING, ids=lambda one: one.name)
def test_every_recurring_job_has_its_task(recurring):
    module, _, _ = recurring.task.rpartition(".")
    importlib.import_module(module)
    assert recurring.task in jobs._tasks


def test_starting_one_that_is_active_adds_nothing():
    name = schedules.RECURRING[0].name
    schedules.start(name)
    schedules.start(name)
    assert Job.objects.filter(key=f"schedule:{name}").count() == 1


def test_only_old_successes_are_forgotten():
    for status, age in (("succeeded", 8), ("failed", 8), ("succeeded", 1)):
        Job.objects.create(
            task="x",
            key="schedule:look",
            title=f"{status} {age}",
            status=status,
            due_at=AT,
            finished_at=AT - timedelta(days=age),
        )
    schedules.forget(before=AT - schedules.KEPT)
    assert set(Job.objects.values_list("title", flat=True)) == {"failed 8", "succeeded 1"}


def test_the_command_says_what_it_did(capsys):
    call_command("sync_schedules")
    assert f"{len(schedules.RECURRING)} recurring jobs set" in capsys.readouterr().out
