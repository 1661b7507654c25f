"""Start the servers and processes of AlphaStrat, or prepare the database for them."""

from __future__ import annotations

import json
import os
import time
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command, get_commands
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection

from alphastrat.servers import options
from alphastrat.servers.readiness import fingerprint
from alphastrat.servers.up import main

DATABASE_PATIENCE = 60.0
SILENCE_SECONDS = 2.0
STATIC_MARK = ".fingerprint"
STATIC_SOURCES = ("static", "requirements.txt")  # libraries bring static files of their own


class Command(BaseCommand):
    help = "Start the servers and processes of AlphaStrat; Ctrl-C stops them all."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        options.add_options(parser)
        parser.add_argument(
            "--prepare",
            action="store_true",
            help="only migrate, collect static files and load the demo, then end",
        )
        parser.add_argument("--notices", type=int, help="descriptor that hears of each step")

    def handle(self, *_args: object, **chosen: Any) -> None:
        if not chosen["prepare"]:
            arguments = [f"--host={chosen['host']}", f"--port={chosen['port']}"]
            arguments += [f"--only={','.join(chosen['only'])}"]
            arguments += ["--no-demo"] if chosen["no_demo"] else []
            raise SystemExit(main(arguments))
        known = sorted(get_commands())
        with ThreadPoolExecutor(1) as pool:
            # Compressing static files and migrating wait on different things.
            collected = pool.submit(self._collect_static)
            self._await_database()
            call_command("migrate", interactive=False, verbosity=1)
            collected.result()
        self._notify(chosen["notices"], step="migrated")
        self._run_if_present(known, "sync_schedules")
        if not chosen["no_demo"]:
            self._run_if_present(known, "load_sample_market")
            self._run_if_present(known, "seed_demo")
        self._notify(chosen["notices"], step="prepared", commands=known)

    def _await_database(self) -> None:
        deadline = time.monotonic() + DATABASE_PATIENCE
        announce_at = time.monotonic() + SILENCE_SECONDS
        while True:
            try:
                connection.ensure_connection()
            except OperationalError as error:
                reason = str(error).strip().splitlines()[0]
                if time.monotonic() > deadline:
                    raise CommandError(f"The database does not answer: {reason}") from None
                if time.monotonic() > announce_at:
                    self.stdout.write(f"waiting for the database: {reason}")
                    announce_at = deadline
                time.sleep(0.05)
            else:
                return

    def _collect_static(self) -> None:
        """Collect only when a static file changed: compressing them takes seconds."""
        mark = settings.STATIC_ROOT / STATIC_MARK
        storage = settings.STORAGES["staticfiles"]["BACKEND"]
        wanted = fingerprint(settings.BASE_DIR, storage, sources=STATIC_SOURCES)
        if mark.exists() and mark.read_text(encoding="ascii") == wanted:
            return
        self.stdout.write("collecting static files")
        call_command("collectstatic", interactive=False, verbosity=0)
        mark.write_text(wanted, encoding="ascii")

    def _run_if_present(self, known: list[str], name: str) -> None:
        if name not in known:
            return
        began = time.monotonic()
        call_command(name)
        self.stdout.write(f"{name} took {time.monotonic() - began:.1f} s")

    def _notify(self, descriptor: int | None, **notice: Any) -> None:
        if descriptor is not None:
            os.write(descriptor, f"{json.dumps(notice)}\n".encode())
