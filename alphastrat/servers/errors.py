"""What the user is told when servers or processes cannot start."""

from __future__ import annotations


class ServerError(Exception):
    """A server or process cannot run; the message is one sentence for the user."""
