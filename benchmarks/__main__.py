"""Run every benchmark, each in a process of its own, and keep what it prints.

python -m benchmarks [NAME …]; results go to benchmarks/results/NAME.txt
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphastrat.servers.embedded import EmbeddedServers

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
NOT_BENCHMARKS = {"__main__", "scratch"}


def names() -> list[str]:
    """Return the benchmarks there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NOT_BENCHMARKS)


@contextmanager
def servers() -> Iterator[None]:
    """Start servers for the measurements where none are given; durable, as in the product."""
    variables = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
    missing = [name for name, variable in variables.items() if not os.environ.get(variable)]
    if not missing:
        yield
        return
    embedded = EmbeddedServers(FOLDER.parent / "var" / "bench", missing, durable=True)
    embedded.start()
    try:
        os.environ.update({variables[name]: url for name, url in embedded.urls.items()})
        yield
    finally:
        embedded.stop()


def run(name: str) -> bool:
    """Run one benchmark, showing and keeping its lines; false where it failed."""
    print(f"--- {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent, check=False)
    print(ended.stdout, ended.stderr if ended.returncode else "", sep="", flush=True)
    if ended.returncode == 0:
        (RESULTS / f"{name}.txt").write_text(ended.stdout, encoding="utf-8")
    return ended.returncode == 0


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - set(names())
    if unknown:
        print(f"No such benchmark: {', '.join(sorted(unknown))}. There are: {', '.join(names())}.")
        return 2
    RESULTS.mkdir(exist_ok=True)
    with servers():
        failed = [name for name in wanted or names() if not run(name)]
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
