"""Run the workers: load and warm what jobs use, then fork."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections
from django.utils.module_loading import autodiscover_modules
from django_q.cluster import Cluster

from alphastrat.core.heartbeats import beat
from alphastrat.core.jobs import warm_up

BEAT_SECONDS = 5.0


class Command(BaseCommand):
    help = "Run the worker processes that carry out jobs."

    def handle(self, *args: Any, **options: Any) -> None:
        # Workers inherit what is loaded here: the first job is as fast as the tenth.
        multiprocessing.set_start_method("fork", force=True)
        autodiscover_modules("tasks")
        warm_up()
        connections.close_all()
        cluster = Cluster()
        cluster.start()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.wait(BEAT_SECONDS):
            beat("worker", {"workers": len(cluster.stat.workers)})
        cluster.stop()
