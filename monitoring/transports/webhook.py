"""Signed webhooks as Standard Webhooks describes them (standardwebhooks.com, version 1).

The signature is HMAC-SHA256 over `<id>.<timestamp>.<body>`; the id is the message's key and the
same in every attempt, the timestamp is the attempt's, so that a receiver can refuse old copies.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

import httpx

from alphastrat.core.errors import InvalidInput
from monitoring.transports.addresses import public_addresses
from monitoring.transports.base import ATTEMPT_SECONDS, DeliveryFailed, Message

SECRET_MARK = "whsec_"
SECRET_BYTES = 32
CONNECT_SECONDS = 4.0
# Longest wait that a receiver may ask for.
LONGEST_RETRY_AFTER = 3600.0
PORTS = {"http": 80, "https": 443}
TEMPORARY = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


def new_secret() -> str:
    """Return a fresh signing secret in the form receivers' libraries take."""
    return SECRET_MARK + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, key: str, timestamp: int, body: bytes) -> str:
    """Return the signature of one attempt: `v1,<base64>`."""
    signed = f"{key}.{timestamp}.".encode() + body
    digest = hmac.new(_key_bytes(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def check_address(address: str) -> str:
    """Return the web address, or raise with what is wrong with it."""
    parts = urlsplit(address.strip())
    if parts.scheme not in PORTS or not parts.hostname:
        raise InvalidInput("Enter a web address that begins with https:// or http://.")
    if parts.username or parts.password:
        raise InvalidInput("Leave name and password out of the address: messages are signed.")
    try:
        _ = parts.port
    except ValueError:
        raise InvalidInput("The port must be a number up to 65535.") from None
    return parts.geturl()


@dataclass(frozen=True, slots=True)
class Webhook:
    """A web address that takes signed JSON."""

    address: str
    # The newest first; while a rotation lasts the one before signs as well.
    signing_secrets: Sequence[str]

    def send(self, message: Message) -> None:
        body = json.dumps(message.payload, separators=(",", ":"), ensure_ascii=False).encode()
        headers = self._headers(message.key, body, timestamp=int(time.time()))
        try:
            response = asyncio.run(_post(urlsplit(self.address), body, headers))
        except (TimeoutError, httpx.TimeoutException):
            raise DeliveryFailed(
                f"No answer within {ATTEMPT_SECONDS:.0f} seconds.", permanent=False
            ) from None
        except httpx.HTTPError as error:
            kind = type(error).__name__
            raise DeliveryFailed(f"The connection failed ({kind}).", permanent=False) from None
        _judge(response)

    def _headers(self, key: str, body: bytes, *, timestamp: int) -> dict[str, str]:
        signed = (signature(secret, key, timestamp, body) for secret in self.signing_secrets)
        return {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "AlphaStrat-Webhook/1",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signed),
        }


async def _post(parts: SplitResult, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """Send to an address that was checked, not to whatever the name says a moment later."""
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    async with asyncio.timeout(ATTEMPT_SECONDS):
        addresses = await public_addresses(host, port)
        url = httpx.URL(parts.geturl()).copy_with(host=addresses[0])
        timeouts = httpx.Timeout(ATTEMPT_SECONDS, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(
            timeout=timeouts, follow_redirects=False, trust_env=False
        ) as client:
            request = client.build_request(
                "POST",
                url,
                content=body,
                headers={**headers, "Host": parts.netloc},
                extensions={"sni_hostname": host},
            )
            # What the receiver says beside its status is of no use to us, and may be endless.
            response = await client.send(request, stream=True)
            await response.aclose()
            return response


def _judge(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_success:
        return
    if response.is_redirect:
        raise DeliveryFailed(
            f"The receiver redirects ({status}); enter the final address.", permanent=True
        )
    permanent = status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in TEMPORARY
    raise DeliveryFailed(
        f"The receiver answered {status}.",
        permanent=permanent,
        retry_after_seconds=None if permanent else _retry_after(response),
    )


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _key_bytes(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_MARK), validate=True)
    except binascii.Error:
        raise DeliveryFailed("The signing secret is damaged; rotate it.", permanent=True) from None
