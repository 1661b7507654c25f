"""Choose the unprivileged account that servers run under when we are root."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path

from alphastrat.servers.errors import ServerError
from alphastrat.servers.process import Account


def server_account(home: Path, programs: Sequence[Path]) -> Account | None:
    """Return the account for servers whose files are in `home`; None when we are not root.

    PostgreSQL refuses to run as root. Whoever owns the files already is asked first, then the
    person behind sudo, the owner of the directory above, and `nobody`; the first who can reach
    both the files and the programs is taken.
    """
    if os.geteuid() != 0:
        return None
    home.mkdir(parents=True, exist_ok=True)
    tried = []
    for account in _candidates(home):
        if account.name in tried:
            continue
        if all(_can_reach(account, path) for path in (home, *programs)):
            return account
        tried.append(account.name)
    raise ServerError(
        f"PostgreSQL does not run as root, and no unprivileged account (tried {', '.join(tried)}) "
        f"can enter {home} and {programs[0].parent}: run AlphaStrat as an ordinary user, "
        "or from a directory that others may enter."
    )


def _candidates(home: Path) -> Iterator[Account]:
    owners = [home.stat().st_uid, home.parent.stat().st_uid]
    uids = [owners[0], int(os.environ.get("SUDO_UID", "0")), owners[1]]
    for uid in uids:
        if uid != 0:
            yield _account(uid)
    yield _account(pwd.getpwnam("nobody").pw_uid)


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(f"user {uid}", uid, uid)
    return Account(entry.pw_name, uid, entry.pw_gid)


def _can_reach(account: Account, path: Path) -> bool:
    """Ask as that account, in a child: only the kernel knows every rule of access."""
    child = os.fork()
    if child == 0:
        reached = False
        try:
            account.become()
            # The directory of the files is handed over later: being able to come by is enough.
            reached = os.access(path, os.F_OK) and (path.is_dir() or os.access(path, os.X_OK))
        finally:
            os._exit(0 if reached else 1)
    _pid, status = os.waitpid(child, 0)
    return status == 0


def hand_over(directory: Path, account: Account | None) -> None:
    """Make `directory` private, and the account's own when there is one."""
    directory.mkdir(parents=True, exist_ok=True)
    if account is not None:
        os.chown(directory, account.uid, account.gid)
    directory.chmod(0o700)
