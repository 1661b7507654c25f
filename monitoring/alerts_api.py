"""JSON API of alerts and silences."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Status

from alphastrat.core.errors import ConflictError
from alphastrat.core.http import ApiRequest
from alphastrat.core.pagination import paged
from monitoring.alert_schemas import (
    AcknowledgeIn,
    AlertEventOut,
    AlertFilterIn,
    AlertOut,
    BulkIn,
    ChangedOut,
    CommentIn,
    FeedbackIn,
    SilenceIn,
    SilenceOut,
    SnoozeIn,
)
from monitoring.models import Alert, Silence
from monitoring.models.alert import AlertQuerySet
from monitoring.services import alert_actions, silences

router = Router(tags=["alerts"])
silences_router = Router(tags=["alerts"])


@router.get("", response=list[AlertOut], url_name="list_alerts")
@paged
def list_alerts(request: ApiRequest, wanted: Query[AlertFilterIn]) -> AlertQuerySet:
    """List your alerts, newest breach first; administrators and viewers see everyone's."""
    found = Alert.objects.for_user(request.user).listed()
    chosen = wanted.model_dump(exclude_none=True, exclude={"acknowledged", "since"})
    found = found.filter(**chosen)
    if wanted.acknowledged is not None:
        found = found.filter(acknowledged_at__isnull=not wanted.acknowledged)
    return found.filter(evaluated_at__gte=wanted.since) if wanted.since else found


@router.get("/{uuid:alert_id}", response=AlertOut, url_name="get_alert")
def get_alert(request: ApiRequest, alert_id: UUID) -> Alert:
    """Show an alert."""
    return _alert(request, alert_id)


@router.get("/{uuid:alert_id}/events", response=list[AlertEventOut], url_name="list_alert_events")
@paged
def list_alert_events(request: ApiRequest, alert_id: UUID) -> Any:
    """List what happened to an alert, oldest first."""
    return _alert(request, alert_id).events.select_related("by").order_by("happened_at", "pk")


@router.post("/{uuid:alert_id}/acknowledge", response=AlertOut, url_name="acknowledge_alert")
def acknowledge_alert(request: ApiRequest, alert_id: UUID, said: AcknowledgeIn) -> Alert:
    """Say that you have an alert; 409 where somebody has it already or it is over."""
    _alert(request, alert_id)
    if not alert_actions.acknowledge([alert_id], by=request.user, at=now(), comment=said.comment):
        raise ConflictError("Somebody has this alert already, or it is over.")
    return _alert(request, alert_id)


@router.post("/acknowledge", response=ChangedOut, url_name="acknowledge_alerts")
def acknowledge_alerts(request: ApiRequest, said: BulkIn) -> dict[str, int]:
    """Say that you have many alerts at once."""
    changed = alert_actions.acknowledge(said.ids, by=request.user, at=now(), comment=said.comment)
    return {"n_changed": len(changed)}


@router.post("/{uuid:alert_id}/comments", response=AlertOut, url_name="comment_alert")
def comment_alert(request: ApiRequest, alert_id: UUID, said: CommentIn) -> Alert:
    """Add a line to an alert's history."""
    _alert(request, alert_id)
    alert_actions.add_comment([alert_id], by=request.user, at=now(), comment=said.comment)
    return _alert(request, alert_id)


@router.post("/{uuid:alert_id}/snooze", response=AlertOut, url_name="snooze_alert")
def snooze_alert(request: ApiRequest, alert_id: UUID, asked: SnoozeIn) -> Alert:
    """Send no messages about an alert until a time or a bound."""
    _alert(request, alert_id)
    alert_actions.snooze([alert_id], by=request.user, at=now(), **asked.model_dump())
    return _alert(request, alert_id)


@router.post("/{uuid:alert_id}/wake", response=AlertOut, url_name="wake_alert")
def wake_alert(request: ApiRequest, alert_id: UUID) -> Alert:
    """End the snooze of an alert."""
    _alert(request, alert_id)
    alert_actions.wake([alert_id], by=request.user, at=now())
    return _alert(request, alert_id)


@router.post("/{uuid:alert_id}/resolve", response=AlertOut, url_name="resolve_alert")
def resolve_alert(request: ApiRequest, alert_id: UUID, said: AcknowledgeIn) -> Alert:
    """End an alert that nothing evaluates; 409 where something does."""
    _alert(request, alert_id)
    alert_actions.resolve([alert_id], by=request.user, at=now(), comment=said.comment)
    return _alert(request, alert_id)


@router.post("/{uuid:alert_id}/feedback", response=AlertOut, url_name="give_alert_feedback")
def give_feedback(request: ApiRequest, alert_id: UUID, said: FeedbackIn) -> Alert:
    """Say whether an alert was useful or noise."""
    _alert(request, alert_id)
    alert_actions.give_feedback([alert_id], by=request.user, at=now(), feedback=said.feedback)
    return _alert(request, alert_id)


@silences_router.get("", response=list[SilenceOut], url_name="list_silences")
@paged
def list_silences(request: ApiRequest) -> Any:
    """List your silences and maintenance windows, newest first."""
    return Silence.objects.for_user(request.user)


@silences_router.post("", response={201: SilenceOut}, url_name="create_silence")
def create_silence(request: ApiRequest, asked: SilenceIn) -> Status[Silence]:
    """Mute messages of matching alerts for a while."""
    values = asked.model_dump(exclude={"matchers"})
    return Status(201, silences.begin(request.user, Silence(**values), asked.matchers))


@silences_router.delete("/{uuid:silence_id}", response={204: None}, url_name="end_silence")
def end_silence(request: ApiRequest, silence_id: UUID) -> Status[None]:
    """End a silence now; one that has not begun is taken back."""
    silence = get_object_or_404(Silence.objects.for_user(request.user), pk=silence_id)
    silences.end(silence, at=now())
    return Status(204, None)


def _alert(request: ApiRequest, alert_id: UUID) -> Alert:
    return get_object_or_404(Alert.objects.for_user(request.user).listed(), pk=alert_id)
