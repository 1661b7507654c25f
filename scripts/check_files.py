"""Refuse text files without a last newline and files too large to keep in git."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

LARGEST = 2 * 2**20
LARGE_ON_PURPOSE = ("static/vendor/", "alphastrat/marketdata/sample/")


def faults(name: str) -> Iterator[str]:
    content = Path(name).read_bytes()
    if len(content) > LARGEST and not name.startswith(LARGE_ON_PURPOSE):
        yield f"{name}: {len(content) / 2**20:.1f} MB is too large to keep in git"
    is_text = b"\0" not in content[:8192]
    if is_text and content and not content.endswith(b"\n") and "vendor/" not in name:
        yield f"{name}: the last line has no newline"


def main(names: list[str]) -> int:
    found = [fault for name in names for fault in faults(name)]
    sys.stderr.write("".join(f"{fault}\n" for fault in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
