"""What every transport takes, does and raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from alphastrat.core.errors import AlphaStratError

# No attempt lasts longer than this, whatever the other side does.
ATTEMPT_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `key` is the same in every attempt."""

    key: str
    title: str
    body: str
    severity: str
    is_recovery: bool = False
    payload: dict[str, Any] = field(default_factory=dict)


class Delivery(Protocol):
    """An address that takes messages; opened with its credentials in plain text."""

    def send(self, message: Message) -> None:
        """Return once the other side has accepted the message, else raise `DeliveryFailed`."""


class DeliveryFailed(AlphaStratError):
    """The message was not accepted: try again later unless `permanent`.

    The text is for people and never holds an address or a key.
    """

    code = "delivery_failed"
    status = 502
    title = "The message was not accepted"

    def __init__(
        self, message: str, *, permanent: bool, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds
