"""The environment of our processes, and the address people are told."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from alphastrat import env

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def page_address(host: str, port: int) -> str:
    """Return the address a browser on this machine opens."""
    shown = EVERYWHERE.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"


def process_environment(var: Path, urls: Mapping[str, str], *, host: str) -> dict[str, str]:
    """Return the environment of our processes: ours over the user's over our defaults."""
    ours = {
        "DATABASE_URL": urls.get("postgres") or env.env_secret("DATABASE_URL"),
        "REDIS_URL": urls.get("valkey") or env.env_secret("REDIS_URL"),
        "ALPHASTRAT_VAR": str(var),
        "PYTHONUNBUFFERED": "1",
    }
    defaults = {
        "DJANGO_SETTINGS_MODULE": "alphastrat.settings",
        "LOG_FORMAT": "console",
        "NUMBA_CACHE_DIR": str(var / "numba"),
    }
    if host not in LOOPBACK_HOSTS:
        defaults["ALLOWED_HOSTS"] = ",".join(names_of_this_machine(host))
    # The values are in `ours` now; both a variable and its file would be refused.
    replaced = {"DATABASE_URL_FILE", "REDIS_URL_FILE"}
    inherited = {key: value for key, value in os.environ.items() if key not in replaced}
    return {**defaults, **inherited, **ours}


def names_of_this_machine(host: str) -> list[str]:
    """Return the names under which a browser elsewhere may ask for us."""
    own = socket.gethostname()
    names = ["localhost", "127.0.0.1", "[::1]", own]
    if host not in EVERYWHERE:
        names.append(host)
    try:
        names += [str(found[4][0]) for found in socket.getaddrinfo(own, None, socket.AF_INET)]
    except socket.gaierror:
        return names
    return list(dict.fromkeys(names))


def demo_account(var: Path) -> dict[str, str]:
    """Return what `seed_demo` wrote into var/demo.env, empty when there is none."""
    try:
        lines = (var / "demo.env").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
