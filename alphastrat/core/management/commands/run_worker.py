"""Run the workers: load and warm what jobs use, then fork."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connections
from django.utils.module_loading import autodiscover_modules
from django_q.cluster import Cluster
from django_q.signals import post_spawn
from redis import RedisError
from threadpoolctl import threadpool_limits

from alphastrat.core.heartbeats import beat
from alphastrat.core.jobs import warm_up
from alphastrat.core.stopping import stop_on_signal
from alphastrat.servers.process import die_with

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0


class Command(BaseCommand):
    help = "Run the worker processes that carry out jobs."

    def handle(self, *args: Any, **options: Any) -> None:
        # Workers inherit what is loaded here: the first job is as fast as the tenth.
        multiprocessing.set_start_method("fork", force=True)
        # A killed parent must not leave workers behind that nobody watches.
        os.register_at_fork(after_in_child=_die_with_parent)
        autodiscover_modules("tasks")
        _rehearse()
        _share_cores()
        connections.close_all()
        # What is there now stays: collecting garbage in a fork would copy every page of it.
        gc.collect()
        gc.freeze()
        # A fork has no connection and copies each page of memory when it first touches it.
        post_spawn.connect(_rehearse)
        cluster = Cluster()
        cluster.start()
        stop = stop_on_signal()
        while not stop.wait(BEAT_SECONDS):
            _beat(cluster)
        cluster.stop()


def _share_cores() -> None:
    """Let the linear algebra of each worker have its share of the cores.

    By itself it takes all of them in every worker, which then spin waiting for each other: on
    two busy cores an allocation then took three to four times the computing time.
    """
    workers: Any = settings.Q_CLUSTER["workers"]
    threadpool_limits(max(1, (os.cpu_count() or 1) // workers), "blas")


def _beat(cluster: Cluster) -> None:
    """Beat, or say why not: a lost server must not end the loop that outlives it."""
    try:
        beat("worker", {"workers": len(cluster.stat.workers)})
    except (DatabaseError, InterfaceError, RedisError) as error:
        logger.warning("heartbeat withheld: %s", error)
        connections.close_all()


def _rehearse(**_: Any) -> None:
    """Warm up, or say why not: a server that is away now may be there for the first job."""
    try:
        warm_up()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("warm-up ended early: %s", error)


def _die_with_parent() -> None:
    die_with(os.getppid(), signal.SIGKILL)
