"""Secrets at rest: Fernet tokens under the keys of the installation.

Fernet (AES-128-CBC with HMAC-SHA256) under the newest of `settings.ENCRYPTION_KEYS`; every key
of the list decrypts, so that a new one can be put in front and the old ones removed once
`manage.py rotate_credentials` has encrypted everything afresh.
"""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from alphastrat.core.errors import AlphaStratError


class CredentialsLost(AlphaStratError):
    """No key decrypts what is stored: put the key back, or enter the secret again."""

    code = "credentials_lost"
    status = 409
    title = "A stored secret cannot be read"


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
            "It was encrypted under a key that is no longer in ALPHASTRAT_ENCRYPTION_KEYS. "
            "Put that key back, or enter it again."
        ) from None


def is_readable(token: bytes | memoryview | None) -> bool:
    """Say whether one of our keys opens a token; an empty one needs none."""
    try:
        decrypt(token)
    except CredentialsLost:
        return False
    return True


def renewed(token: bytes | memoryview) -> bytes:
    """Return the token under the newest key."""
    return _fernet().rotate(bytes(token))


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])
