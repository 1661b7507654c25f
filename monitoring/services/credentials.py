"""Addresses and keys of transports, encrypted at rest; the only door to their plain text."""

from __future__ import annotations

from urllib.parse import urlsplit

from alphastrat.core.encryption import CredentialsLost, decrypt, encrypt, is_readable, renewed
from monitoring.models import Transport

__all__ = [
    "HINT_LENGTH",
    "CredentialsLost",
    "decrypt",
    "encrypt",
    "masked",
    "rotate",
    "unreadable",
]

HINT_LENGTH = 120
SECRETS = ("address", "signing_key", "previous_signing_key")


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
    transports = [one for one in Transport.objects.all() if _is_readable(one)]
    for transport in transports:
        for name in SECRETS:
            token = getattr(transport, name)
            if token is not None:
                setattr(transport, name, renewed(token))
    Transport.objects.bulk_update(transports, SECRETS)
    return len(transports)


def _is_readable(transport: Transport) -> bool:
    return all(is_readable(getattr(transport, name)) for name in SECRETS)
