"""Whether the right software is here."""

from __future__ import annotations

import importlib
import platform
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from alphastrat.core.doctor.finding import Finding, error, ok

OLDEST_PYTHON = (3, 11)
# The distribution, and the module to import. vectorbt takes ten seconds to import: its
# presence is enough here, and the engine that uses it says more.
LIBRARIES = {
    "TA-Lib": "talib",
    "numba": "numba",
    "psycopg": "psycopg",
    "vectorbt": "",
}


def python(at: datetime) -> Finding:
    detail = f"Python {platform.python_version()}"
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return error("python", detail, f"Install Python {wanted} or newer and run `make setup`.")
    return ok("python", detail)


def libraries(at: datetime) -> Finding:
    found, missing = [], []
    for distribution, module in LIBRARIES.items():
        try:
            found.append(f"{distribution} {version(distribution)}")
            if module:
                importlib.import_module(module)
        except (PackageNotFoundError, ImportError) as failure:
            missing.append(f"{distribution}: {failure}")
    if missing:
        return error("libraries", "; ".join(missing), "Run `make setup` to install them.")
    return ok("libraries", ", ".join(found))
