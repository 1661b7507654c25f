"""Addresses and keys of transports, encrypted at rest; the only door to their plain text.

Fernet (AES-128-CBC with HMAC-SHA256) under the newest of `settings.ENCRYPTION_KEYS`; every key
of the list decrypts, so that a new one can be put in front and the old ones removed once
`manage.py rotate_credentials` has encrypted everything afresh.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from alphastrat.core.errors import AlphaStratError
from monitoring.models import Transport

HINT_LENGTH = 120


class CredentialsLost(AlphaStratError):
    """No key decrypts the stored address: put the key back, or enter the address again."""

    code = "credentials_lost"
    status = 409
    title = "The stored address cannot be read"


def encrypt(text: str) -> bytes:
    """Return `text` as a token that only our keys open."""
    return _fernet().encrypt(text.encode())


def decrypt(token: bytes | memoryview | None) -> str:
    """Return the plain text of a stored token; empty where nothing is stored."""
    if token is None:
        return ""
    try:
        return _fernet().decrypt(bytes(token)).decode()
    except InvalidToken:
        raise CredentialsLost(
            "The address was encrypted under a key that is no longer in "
            "ALPHASTRAT_ENCRYPTION_KEYS. Put that key back, or enter the address again."
        ) from None


def masked(address: str) -> str:
    """Return what may be shown of an address: the service, its host, and nothing secret."""
    parts = urlsplit(address)
    if not parts.scheme:
        return "…"
    host = parts.hostname or ""
    # Most messengers carry the token where a web address has its host.
    shown = host if parts.scheme in {"http", "https", "mailto", "mailtos"} else host[:2]
    return f"{parts.scheme}://{shown}…"[:HINT_LENGTH]


def unreadable() -> list[Transport]:
    """Return the transports whose credentials no key opens."""
    return [transport for transport in Transport.objects.all() if not _is_readable(transport)]


def rotate() -> int:
    """Encrypt everything under the newest key; return how many transports were rewritten."""
    fernet = _fernet()
    names = ("address", "signing_key", "previous_signing_key")
    transports = [one for one in Transport.objects.all() if _is_readable(one)]
    for transport in transports:
        for name in names:
            token = getattr(transport, name)
            if token is not None:
                setattr(transport, name, fernet.rotate(bytes(token)))
    Transport.objects.bulk_update(transports, names)
    return len(transports)


def _is_readable(transport: Transport) -> bool:
    try:
        for token in (transport.address, transport.signing_key, transport.previous_signing_key):
            decrypt(token)
    except CredentialsLost:
        return False
    return True


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])
