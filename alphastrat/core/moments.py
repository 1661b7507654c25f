"""Instants as whole microseconds since 1970 in UTC, the way PostgreSQL and NumPy count them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return an instant as a number."""
    return (at - _EPOCH) // _MICROSECOND


def moment(number: int) -> datetime:
    """Return the instant of a number."""
    return _EPOCH + int(number) * _MICROSECOND
