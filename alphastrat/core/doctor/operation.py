"""Whether the processes run, there is room, and mail and prices can come and go."""

from __future__ import annotations

import os
import shutil
import smtplib
from datetime import datetime

from django.conf import settings
from django.core.mail import get_connection

from alphastrat.core import heartbeats
from alphastrat.core.doctor.finding import Check, Finding, Verdict, error, needs_database, ok
from alphastrat.core.doctor.finding import warning as warn

GIGABYTE = 2**30
DISK_WARNING_BYTES = 2 * GIGABYTE
DISK_ERROR_BYTES = GIGABYTE // 5
MAIL_PATIENCE_SECONDS = 5


def _alive(process: str, missing: Verdict, consequence: str) -> Check:
    remedy = f"Start everything (`make run`), or `manage.py run_{process}` alone."

    def check(at: datetime) -> Finding:
        beat = heartbeats.newest(at=at).get(process)
        if beat is None:
            return Finding(process, missing, f"No {process} runs: {consequence}", remedy)
        age = (at - beat.beat_at).total_seconds()
        detail = f"Last sign of life {max(age, 0):.0f} s ago, from {beat.host} ({beat.pid})."
        if age > heartbeats.FRESH_FOR.total_seconds():
            return Finding(process, missing, f"{detail} {consequence.capitalize()}", remedy)
        return ok(process, detail)

    check.__name__ = process
    return needs_database(check)


worker = _alive("worker", Verdict.ERROR, "jobs wait.")
monitor = _alive("monitor", Verdict.ERROR, "no alert is raised and lost jobs stay lost.")
feed = _alive("feed", Verdict.WARNING, "no new bars come in.")


def disk(at: datetime) -> Finding:
    place = settings.VAR_DIR
    place.mkdir(parents=True, exist_ok=True)
    if not os.access(place, os.W_OK):
        return error("disk", f"{place} cannot be written.", "Give it to the user that runs us.")
    usage = shutil.disk_usage(place)
    detail = f"{usage.free / GIGABYTE:.1f} of {usage.total / GIGABYTE:.1f} GB free in {place}."
    remedy = "Make room, or set ALPHASTRAT_VAR to a larger disk."
    if usage.free < DISK_ERROR_BYTES:
        return error("disk", detail, remedy)
    if usage.free < DISK_WARNING_BYTES:
        return warn("disk", detail, remedy)
    return ok("disk", detail)


def mail(at: datetime) -> Finding:
    if not settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        return warn(
            "mail",
            f"No mail server is set: alerts and reports are files in {settings.EMAIL_FILE_PATH}.",
            "Set EMAIL_URL, such as smtp+tls://user:password@mail.example.com:587.",
        )
    server = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        with get_connection(timeout=MAIL_PATIENCE_SECONDS):
            return ok("mail", f"{server} accepts us.")
    except (OSError, smtplib.SMTPException) as failure:
        # The server's answer may repeat what we sent: only its kind is shown.
        return error(
            "mail",
            f"{server} refuses: {type(failure).__name__}.",
            "Correct EMAIL_URL or the server.",
        )


def provider_keys(at: datetime) -> Finding:
    has_key = bool(settings.MASSIVE_API_KEY)
    if settings.FEED_PROVIDER == "massive" and not has_key:
        return error(
            "provider keys",
            "FEED_PROVIDER is massive but MASSIVE_API_KEY is not set.",
            "Set MASSIVE_API_KEY, or FEED_PROVIDER=replay.",
        )
    if "massive" in settings.MARKET_DATA_PROVIDERS and not has_key:
        return warn(
            "provider keys",
            "MASSIVE_API_KEY is not set: history comes from the other providers.",
            "Set MASSIVE_API_KEY, or leave massive out of MARKET_DATA_PROVIDERS.",
        )
    return ok("provider keys", f"Complete for {', '.join(settings.MARKET_DATA_PROVIDERS)}.")
