"""JSON API of transports and deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Field, Query, Router, Schema, Status

from alphastrat.core.errors import ConflictError
from alphastrat.core.pagination import paged
from monitoring.models import Notification, NotificationStatus, Severity, Transport
from monitoring.models.notification import NotificationQuerySet, TransportKind, TransportQuerySet
from monitoring.services import transports
from monitoring.services.notifications import send_dead_again
from monitoring.services.transports import TransportDraft

transports_router = Router(tags=["alerts"])
deliveries_router = Router(tags=["alerts"])


class TransportChange(Schema):
    """What may be changed; an empty address keeps the stored one."""

    name: str = Field(min_length=1, max_length=80)
    address: str = Field("", max_length=1000)
    minimum_severity: Severity = Severity.WARNING
    is_for_escalation: bool = False
    sends_recovery: bool = True


class TransportIn(TransportChange):
    """A new transport: an Apprise address, or a web address for signed JSON."""

    kind: TransportKind
    address: str = Field(min_length=1, max_length=1000)


class TransportOut(Schema):
    """A transport; of its address only what is no secret."""

    id: UUID
    name: str
    kind: TransportKind
    hint: str
    minimum_severity: Severity
    is_for_escalation: bool
    sends_recovery: bool
    is_enabled: bool
    tested_at: datetime | None
    test_error: str
    created_at: datetime


class TransportCreated(TransportOut):
    """A transport with the signing secret of a webhook, which cannot be read again."""

    signing_secret: str


class SecretOut(Schema):
    """The new signing secret, which cannot be read again."""

    signing_secret: str


class TransportTested(Schema):
    """What became of a test message; `error` is empty where it was accepted."""

    accepted: bool
    error: str


class DeliveryFilterIn(Schema):
    status: NotificationStatus | None = None
    transport: UUID | None = None
    alert: UUID | None = None


class DeliveryOut(Schema):
    """A message about an alert over one transport, with the time of each step."""

    id: UUID
    key: str
    alert_id: UUID
    transport_id: UUID
    kind: str = Field(alias="event.kind")
    status: NotificationStatus
    title: str
    attempts: int
    breached_at: datetime = Field(alias="alert.breached_at")
    evaluated_at: datetime = Field(alias="alert.evaluated_at")
    stored_at: datetime
    due_at: datetime
    sent_at: datetime | None
    accepted_at: datetime | None
    error: str
    mute_reason: str


@transports_router.get("", response=list[TransportOut], url_name="list_transports")
@paged
def list_transports(request: HttpRequest) -> TransportQuerySet:
    """List your transports by name; administrators and viewers see everyone's."""
    return Transport.objects.for_user(request.user).order_by("name", "pk")


@transports_router.post("", response={201: TransportCreated}, url_name="create_transport")
def create_transport(request: HttpRequest, asked: TransportIn) -> Status[Any]:
    """Add a transport; the address is encrypted and never returned."""
    draft = TransportDraft(**asked.model_dump())
    transport, secret = transports.add_transport(request.user, draft)
    shown = TransportOut.from_orm(transport).model_dump()
    return Status(201, {**shown, "signing_secret": secret})


@transports_router.get("/{uuid:transport_id}", response=TransportOut, url_name="get_transport")
def get_transport(request: HttpRequest, transport_id: UUID) -> Transport:
    """Show a transport."""
    return _transport(request, transport_id)


@transports_router.put("/{uuid:transport_id}", response=TransportOut, url_name="change_transport")
def change_transport(request: HttpRequest, transport_id: UUID, asked: TransportChange) -> Transport:
    """Change a transport; its kind stays."""
    transport = _transport(request, transport_id)
    draft = TransportDraft(kind=transport.kind, **asked.model_dump())
    transports.change_transport(transport, draft)
    return transport


@transports_router.delete("/{uuid:transport_id}", response={204: None}, url_name="delete_transport")
def delete_transport(request: HttpRequest, transport_id: UUID) -> Status[None]:
    """Delete a transport with the record of its deliveries."""
    _transport(request, transport_id).delete()
    return Status(204, None)


@transports_router.post(
    "/{uuid:transport_id}/test", response=TransportTested, url_name="test_transport"
)
def send_test(request: HttpRequest, transport_id: UUID) -> dict[str, Any]:
    """Send a test message now and say what became of it."""
    error = transports.send_test(_transport(request, transport_id), at=now())
    return {"accepted": not error, "error": error}


@transports_router.post(
    "/{uuid:transport_id}/rotate", response=SecretOut, url_name="rotate_transport"
)
def rotate_transport(request: HttpRequest, transport_id: UUID) -> dict[str, str]:
    """Give a webhook a new signing secret; the old one signs as well for a day."""
    secret = transports.rotate_secret(_transport(request, transport_id), at=now())
    return {"signing_secret": secret}


@transports_router.post(
    "/{uuid:transport_id}/enable", response=TransportOut, url_name="enable_transport"
)
def enable_transport(request: HttpRequest, transport_id: UUID) -> Transport:
    """Switch a transport on."""
    transport = _transport(request, transport_id)
    transports.switch(transport, on=True, at=now())
    return transport


@transports_router.post(
    "/{uuid:transport_id}/disable", response=TransportOut, url_name="disable_transport"
)
def disable_transport(request: HttpRequest, transport_id: UUID) -> Transport:
    """Switch a transport off; what waits for it is muted."""
    transport = _transport(request, transport_id)
    transports.switch(transport, on=False, at=now())
    return transport


@deliveries_router.get("", response=list[DeliveryOut], url_name="list_deliveries")
@paged
def list_deliveries(request: HttpRequest, wanted: Query[DeliveryFilterIn]) -> NotificationQuerySet:
    """List messages, newest first."""
    found = Notification.objects.for_user(request.user).listed()
    asked = wanted.model_dump(exclude_none=True)
    return found.filter(**asked).order_by("-queued_at", "pk")


@deliveries_router.post(
    "/{uuid:delivery_id}/retry", response=DeliveryOut, url_name="retry_delivery"
)
def retry_delivery(request: HttpRequest, delivery_id: UUID) -> Notification:
    """Send a message again that was given up, with the same key."""
    own = Notification.objects.for_user(request.user).filter(pk=delivery_id)
    get_object_or_404(own)
    if not send_dead_again(own, at=now()):
        raise ConflictError("This message is not given up: it was sent, or is on its way.")
    return own.listed().get()


def _transport(request: HttpRequest, transport_id: UUID) -> Transport:
    return get_object_or_404(Transport.objects.for_user(request.user), pk=transport_id)
