"""Structured logs: JSON lines for machines, short lines for people, ids from the context."""

from __future__ import annotations

import logging.config
from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(options: dict[str, str]) -> None:
    """Configure logging from {"level": …, "format": "json" | "console"}."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": _SHARED,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *_renderer(options["format"]),
                    ],
                }
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "structured"},
            },
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": {
                "axes": {"level": "WARNING"},
                "django_q": {"level": "WARNING"},
                "django-q": {"level": "WARNING"},
                "django.server": {"level": "WARNING"},
                # Says at length what it keeps of a font.
                "fontTools": {"level": "WARNING"},
            },
        }
    )


def _renderer(name: str) -> list[Any]:
    if name == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The default draws local variables where rich is installed, passwords among them.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
