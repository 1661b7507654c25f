"""Whether the database, its extension, the broker and the channel layer answer."""

from __future__ import annotations

import asyncio
from datetime import datetime

import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.timezone import now

from alphastrat.core.doctor.finding import Finding, error, needs_database, ok, warning

OLDEST_POSTGRESQL = 140_000
PATIENCE_SECONDS = 3.0
CLOCK_WARNING_SECONDS = 1.0
CLOCK_ERROR_SECONDS = 30.0


@needs_database
def database(at: datetime) -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        number = int(cursor.fetchone()[0])
    detail = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    if number < OLDEST_POSTGRESQL:
        return error("database", detail, "Use PostgreSQL 14 or newer.")
    return ok("database", detail)


@needs_database
def migrations(at: datetime) -> Finding:
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        names = ", ".join(f"{step.app_label}.{step.name}" for step, _ in waiting[:3])
        return error(
            "migrations",
            f"{len(waiting)} not applied: {names}{', …' if len(waiting) > 3 else ''}",
            "Run `manage.py migrate`.",
        )
    return ok("migrations", f"{len(executor.loader.applied_migrations)} applied")


@needs_database
def timescaledb(at: datetime) -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT default_version, installed_version FROM pg_available_extensions"
            " WHERE name = 'timescaledb'"
        )
        row = cursor.fetchone()
    if row is None:
        return ok("timescaledb", "Not available here: series are kept in plain tables.")
    if row[1] is None:
        return warning(
            "timescaledb",
            f"Version {row[0]} is available but not installed: series are kept in plain tables.",
            "To use it, CREATE EXTENSION timescaledb in an empty database and migrate that.",
        )
    return ok("timescaledb", f"Version {row[1]} is installed.")


@needs_database
def clock(at: datetime) -> Finding:
    before = now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs = cursor.fetchone()[0]
    ours = before + (now() - before) / 2
    offset = (theirs - ours).total_seconds()
    detail = f"The database's clock is {offset:+.3f} s from ours."
    remedy = "Synchronise both clocks (NTP): bars, leases and heartbeats compare them."
    if abs(offset) > CLOCK_ERROR_SECONDS:
        return error("clock", detail, remedy)
    if abs(offset) > CLOCK_WARNING_SECONDS:
        return warning("clock", detail, remedy)
    return ok("clock", detail)


def broker(at: datetime) -> Finding:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    )
    try:
        with client:
            facts = client.info("server")
    except redis.RedisError as failure:
        return error(
            "broker",
            f"Valkey does not answer: {failure}",
            "Start it (`make run`), or correct REDIS_URL. Jobs wait and pages poll until then.",
        )
    name = "Valkey" if "valkey_version" in facts else "Redis"
    return ok("broker", f"{name} {facts.get('valkey_version', facts['redis_version'])}")


def channel_layer(at: datetime) -> Finding:
    try:
        async_to_sync(_round_trip)()
    except (redis.RedisError, OSError, TimeoutError) as failure:
        return error(
            "channel layer",
            f"A message did not come back: {failure or 'no answer'}",
            "Check the broker: live pages fall back to polling until it answers.",
        )
    return ok("channel layer", "A message went round.")


async def _round_trip() -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "doctor.greeting"})
        await layer.receive(channel)
