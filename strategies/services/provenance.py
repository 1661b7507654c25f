"""Which code and libraries produced a number."""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from django.conf import settings

from strategies.quant import registry

LIBRARIES = ("numpy", "pandas", "numba", "ta-lib", "vectorbt", "exchange_calendars")
SOURCES = ("alphastrat/quant", "strategies/quant")


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that take part in a backtest."""
    return {name: found for name in LIBRARIES if (found := _version(name))}


@cache
def code_version(plugin: str) -> str:
    """Return the build and a fingerprint of every numeric source that a run goes through.

    The fingerprint covers the plug-in's own file, so that a user's strategy is part of it.
    """
    digest = hashlib.sha256(_numeric_sources())
    digest.update(Path(inspect.getfile(registry.plugin(plugin))).read_bytes())
    return f"{settings.BUILD}+{digest.hexdigest()[:12]}"


@cache
def _numeric_sources() -> bytes:
    folders = [Path(settings.BASE_DIR) / folder for folder in SOURCES]
    files = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return b"".join(path.read_bytes() for path in files)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
