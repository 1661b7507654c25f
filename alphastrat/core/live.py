"""Live events: written with the fact, numbered per topic, sent on commit, replayed on demand.

The database is the truth. The channel layer only carries the news to the web processes; what it
loses, their hubs find in the event log a few seconds later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils.timezone import now

from alphastrat.core import messenger
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import LiveEvent, LiveTopic

Authorizer = Callable[[Any, str], bool]
_authorizers: dict[str, Authorizer] = {}

# One statement numbers and writes the events; topics in order, so that two publishers of the same
# topics never wait for each other.
_RECORD = """
    WITH news AS (
        SELECT * FROM unnest(%s::text[], %s::jsonb[]) AS n (topic, payload) ORDER BY topic
    ), numbered AS (
        INSERT INTO core_livetopic AS t (topic, head) SELECT topic, 1 FROM news
        ON CONFLICT (topic) DO UPDATE SET head = t.head + 1
        RETURNING topic, head
    )
    INSERT INTO core_liveevent (topic, sequence, kind, payload, created_at)
    SELECT numbered.topic, numbered.head, %s, news.payload, %s
    FROM numbered JOIN news USING (topic)
    RETURNING topic, sequence
"""


# As above, for many events of which several may belong to one topic: they are numbered in order.
_RECORD_MANY = """
    WITH news AS (
        SELECT topic, kind, payload, place, count(*) OVER (PARTITION BY topic) AS n,
               row_number() OVER (PARTITION BY topic ORDER BY place) AS turn
        FROM unnest(%s::text[], %s::text[], %s::jsonb[])
             WITH ORDINALITY AS u (topic, kind, payload, place)
    ), numbered AS (
        INSERT INTO core_livetopic AS t (topic, head)
        SELECT topic, max(n) FROM news GROUP BY topic ORDER BY topic
        ON CONFLICT (topic) DO UPDATE SET head = t.head + EXCLUDED.head
        RETURNING topic, head
    ), recorded AS (
        INSERT INTO core_liveevent (topic, sequence, kind, payload, created_at)
        SELECT topic, head - n + turn, kind, payload, %s FROM numbered JOIN news USING (topic)
    )
    SELECT place, head - n + turn FROM numbered JOIN news USING (topic) ORDER BY place
"""


def publish(topic: str, kind: str, payload: dict[str, Any]) -> None:
    """Record an event of `topic` in this transaction and send it once that is committed."""
    publish_to([topic], kind, payload)


def publish_to(topics: Sequence[str], kind: str, payload: dict[str, Any]) -> None:
    """Record the same event in several topics; see `publish`."""
    at, content = now(), jsonable(payload)
    document = json.dumps(content)
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, [list(topics), [document] * len(topics), kind, at])
        sequences = cursor.fetchall()
    for topic, sequence in sequences:
        event = LiveEvent(topic=topic, sequence=sequence, kind=kind, payload=content, created_at=at)
        transaction.on_commit(partial(_send, event), robust=True)


def publish_many(news: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Record many (topic, kind, payload) in this transaction with one statement; see `publish`."""
    if not news:
        return
    at = now()
    topics, kinds, payloads = zip(*news, strict=True)
    contents = [jsonable(payload) for payload in payloads]
    documents = [json.dumps(content) for content in contents]
    with connection.cursor() as cursor:
        cursor.execute(_RECORD_MANY, [list(topics), list(kinds), documents, at])
        sequences = [sequence for _, sequence in cursor.fetchall()]
    for topic, kind, content, sequence in zip(topics, kinds, contents, sequences, strict=True):
        event = LiveEvent(topic=topic, sequence=sequence, kind=kind, payload=content, created_at=at)
        transaction.on_commit(partial(_send, event), robust=True)


def publish_each(kind: str, payloads: Mapping[str, dict[str, Any]]) -> None:
    """Record an event of its own in each topic, all in one statement; see `publish`."""
    if not payloads:
        return
    at = now()
    contents = {topic: jsonable(payload) for topic, payload in payloads.items()}
    documents = [json.dumps(content) for content in contents.values()]
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, [list(contents), documents, kind, at])
        sequences = cursor.fetchall()
    for topic, sequence in sequences:
        event = LiveEvent(
            topic=topic, sequence=sequence, kind=kind, payload=contents[topic], created_at=at
        )
        transaction.on_commit(partial(_send, event), robust=True)


def heads(*topics: str) -> dict[str, int]:
    """Return the newest sequence of each topic; read it before the data of a page."""
    known = dict(LiveTopic.objects.filter(topic__in=topics).values_list("topic", "head"))
    return {topic: known.get(topic, 0) for topic in topics}


def events_after(topic: str, sequence: int, *, limit: int) -> list[LiveEvent]:
    """Return the events of `topic` newer than `sequence`, oldest first."""
    newer = LiveEvent.objects.filter(topic=topic, sequence__gt=sequence)
    return list(newer.order_by("sequence")[:limit])


def prune(*, before: datetime) -> int:
    """Forget events older than `before`; pages that were away longer fetch afresh."""
    return LiveEvent.objects.filter(created_at__lt=before).delete()[0]


def authorize_topic(prefix: str) -> Callable[[Authorizer], Authorizer]:
    """Register who may subscribe to the topics `prefix:<rest>`."""

    def register(function: Authorizer) -> Authorizer:
        _authorizers[prefix] = function
        return function

    return register


def stored_topic(user: Any, name: str) -> str | None:
    """Return the stored topic behind the wire name for `user`; None where it is refused."""
    prefix, _, rest = name.partition(":")
    if name in {"alerts", "jobs"}:
        return f"{name}:u{user.pk}"
    authorizer = _authorizers.get(prefix)
    if authorizer is None or not authorizer(user, rest):
        return None
    return name


def group_of(topic: str) -> str:
    """Return the channel layer's group for a stored topic."""
    return "live." + topic.replace(":", ".")


def _send(event: LiveEvent) -> None:
    message = {"type": "live.event", "topic": event.topic, "event": json.dumps(_packed(event))}
    messenger.send(group_of(event.topic), message)


def _packed(event: LiveEvent) -> dict[str, Any]:
    return {
        "seq": event.sequence,
        "ts": event.created_at.timestamp(),
        "kind": event.kind,
        "d": event.payload,
    }


def packed_events(events: Iterable[LiveEvent]) -> list[dict[str, Any]]:
    """Return events in the form the hub passes to its sockets."""
    return [_packed(event) for event in events]
