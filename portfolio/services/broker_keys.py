"""Keys of accounts at brokers: they go in encrypted, and nobody reads them but the broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from alphastrat.core.encryption import decrypt, encrypt, is_readable, renewed
from alphastrat.core.errors import ConflictError, InvalidInput
from portfolio.models import Account, BrokerKey

HINT_LENGTH = 4


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The two halves of a broker's key."""

    key_id: str
    secret: str = field(repr=False)

    @property
    def hint(self) -> str:
        return f"{self.key_id[:HINT_LENGTH]}…"


@dataclass(frozen=True, slots=True)
class Connection:
    """A key that the broker let in, the installation's if None, and the account it opens there."""

    key: KeyPair | None
    account_number: str


def pair(key_id: str, secret: str) -> KeyPair | None:
    """Return the two halves that somebody entered; None without any.

    Raises InvalidInput for one half alone.
    """
    key_id, secret = key_id.strip(), secret.strip()
    if bool(key_id) != bool(secret):
        missing = "secret" if key_id else "key_id"
        raise InvalidInput(
            "A key has two halves.", fields={missing: "Enter both, or neither of them."}
        )
    return KeyPair(key_id, secret) if key_id else None


def of_installation() -> KeyPair | None:
    """Return the key that accounts without one of their own are reached with."""
    if not settings.ALPACA_API_KEY or not settings.ALPACA_SECRET_KEY:
        return None
    return KeyPair(settings.ALPACA_API_KEY, settings.ALPACA_SECRET_KEY)


def of(account: Account) -> KeyPair | None:
    """Return the key of an account: its own, else the installation's; None without either.

    Raises CredentialsLost for one that no key of ours decrypts.
    """
    own = BrokerKey.objects.filter(account=account).first()
    return of_installation() if own is None else KeyPair(**json.loads(decrypt(own.token)))


def connect(key: KeyPair | None, *, identify: Callable[[KeyPair], str]) -> Connection | None:
    """Ask the broker whose key this is; None where neither it nor the installation has one.

    Raises ProviderError if the broker does not let it in or does not answer.
    """
    used = key or of_installation()
    return None if used is None else Connection(key, identify(used))


def store(account: Account, key: KeyPair, *, at: datetime) -> None:
    """Keep the key of an account, over one that was there."""
    token = encrypt(json.dumps({"key_id": key.key_id, "secret": key.secret}))
    values = {"token": token, "hint": key.hint, "stored_at": at}
    BrokerKey.objects.update_or_create(account=account, defaults=values)


def replace(account: Account, connection: Connection | None, *, at: datetime) -> None:
    """Give an account another key of the same account there.

    Raises ConflictError for the key of another one: its positions are somebody else's.
    """
    if connection is None or connection.key is None:
        raise InvalidInput("Enter the new key.", fields={"key_id": "Enter both halves."})
    if account.reference and connection.account_number != account.reference:
        raise ConflictError(
            f"This key opens {connection.account_number}; this account is {account.reference}."
        )
    store(account, connection.key, at=at)


def unreadable() -> list[BrokerKey]:
    """Return the keys that none of ours opens."""
    return [one for one in BrokerKey.objects.select_related("account") if not _is_readable(one)]


def rotate() -> int:
    """Encrypt every key under our newest; return how many were rewritten."""
    keys = [one for one in BrokerKey.objects.all() if _is_readable(one)]
    for one in keys:
        one.token = renewed(one.token)
    BrokerKey.objects.bulk_update(keys, ["token"])
    return len(keys)


def _is_readable(key: BrokerKey) -> bool:
    return is_readable(key.token)
