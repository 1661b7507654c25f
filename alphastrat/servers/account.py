"""Choose the unprivileged account that servers run under when we are root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from alphastrat.servers.process import Account


def server_account(home: Path) -> Account | None:
    """Return the account for servers whose files are in `home`; None when we are not root.

    PostgreSQL refuses to run as root. Whoever owns the files already is taken, else the person
    behind sudo, else the owner of the directory above, else `nobody`.
    """
    if os.geteuid() != 0:
        return None
    home.mkdir(parents=True, exist_ok=True)
    invited = os.environ.get("SUDO_UID", "")
    uids = [
        home.stat().st_uid,
        int(invited) if invited.isdecimal() else 0,
        home.parent.stat().st_uid,
        pwd.getpwnam("nobody").pw_uid,
    ]
    return _account(next(uid for uid in uids if uid != 0))


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(f"user {uid}", uid, uid)
    return Account(entry.pw_name, uid, entry.pw_gid)


def hand_over(directory: Path, account: Account | None) -> None:
    """Make `directory` private, and the account's own when there is one."""
    directory.mkdir(parents=True, exist_ok=True)
    if account is not None:
        os.chown(directory, account.uid, account.gid)
    directory.chmod(0o700)
