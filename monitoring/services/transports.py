"""Add, change, test and switch off transports; addresses go in and never come out again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.jsonable import jsonable
from monitoring.models import Severity, Transport
from monitoring.services import credentials, deliveries
from monitoring.transports import messenger, webhook
from monitoring.transports.base import DeliveryFailed, Message

Kind = Transport.Kind
SWITCHED_OFF = "The transport was switched off before this could be sent."


@dataclass(frozen=True, slots=True)
class TransportDraft:
    """What a person says about a transport; an empty address keeps the stored one."""

    name: str
    kind: str
    address: str = ""
    minimum_severity: str = Severity.WARNING
    is_for_escalation: bool = False
    sends_recovery: bool = True


def check_address(kind: str, address: str) -> str:
    """Return the address as it will be stored, or raise `InvalidInput` naming the field."""
    check = webhook.check_address if kind == Kind.WEBHOOK else messenger.check_address
    try:
        return check(address)
    except InvalidInput as error:
        raise InvalidInput(str(error), fields={"address": str(error)}) from None


def add_transport(owner: Any, draft: TransportDraft) -> tuple[Transport, str]:
    """Store a transport; return it with the signing secret, which cannot be read again."""
    transport = Transport(owner=owner, kind=draft.kind)
    secret = webhook.new_secret() if draft.kind == Kind.WEBHOOK else ""
    if secret:
        transport.signing_key = credentials.encrypt(secret)
    _fill(transport, draft)
    return transport, secret


def change_transport(transport: Transport, draft: TransportDraft) -> None:
    """Store what was changed; the kind of a transport stays."""
    _fill(transport, draft)


def rotate_secret(transport: Transport, *, at: datetime) -> str:
    """Give a webhook a new secret; the old one signs as well for a day. Return the new one."""
    if transport.kind != Kind.WEBHOOK:
        raise ConflictError("Only webhooks are signed.")
    secret = webhook.new_secret()
    transport.previous_signing_key = transport.signing_key
    transport.signing_key = credentials.encrypt(secret)
    transport.key_rotated_at = at
    transport.save()
    return secret


@transaction.atomic
def switch(transport: Transport, *, on: bool, at: datetime) -> None:
    """Switch a transport on or off; what waits for one that goes off is muted."""
    transport.is_enabled = on
    transport.save()
    if not on:
        deliveries.mute_unsent(transport, reason=SWITCHED_OFF, at=at)


def send_test(transport: Transport, *, at: datetime) -> str:
    """Send a test message now; return what went wrong, empty where it was accepted."""
    message = _test_message(transport, at=at)
    try:
        deliveries.opened(transport, at=at).send(message)
        error = ""
    except (DeliveryFailed, credentials.CredentialsLost) as failure:
        error = str(failure)
    transport.tested_at, transport.test_error = at, error[:300]
    transport.save(update_fields=["tested_at", "test_error"])
    return error


def _fill(transport: Transport, draft: TransportDraft) -> None:
    transport.name = draft.name
    transport.minimum_severity = draft.minimum_severity
    transport.is_for_escalation = draft.is_for_escalation
    transport.sends_recovery = draft.sends_recovery
    if draft.address or transport._state.adding:
        address = check_address(str(transport.kind), draft.address)
        transport.address = credentials.encrypt(address)
        transport.hint = hint(str(transport.kind), address)
    try:
        with transaction.atomic():
            transport.save()
    except IntegrityError:
        taken = "You have a transport of this name."
        raise InvalidInput(taken, fields={"name": taken}) from None


def hint(kind: str, address: str) -> str:
    """Return what is shown of an address."""
    masked = credentials.masked(address)
    if kind == Kind.WEBHOOK:
        return masked
    return f"{messenger.service_name(address)}, {masked}"[: credentials.HINT_LENGTH]


def _test_message(transport: Transport, *, at: datetime) -> Message:
    text = "If you can read this, alerts of AlphaStrat reach you here."
    title = f"[TEST] {transport.name}"
    data = {"title": title, "text": text, "severity": Severity.INFO, "state": "test"}
    payload = {"type": "alert.test", "timestamp": at, "data": data}
    return Message(
        key=f"test:{uuid4()}",
        title=title,
        body=text,
        severity=Severity.INFO,
        payload=dict(jsonable(payload)),
    )
