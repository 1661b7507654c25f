"""uvicorn's WebSocket, with a way to write one frame to many pages.

An ASGI server encodes every message anew for every socket that it is sent to. The extension
`alphastrat.frames` of the scope writes a frame that was encoded once, and ends the connection of a
page that does not read. Where a server does not offer it, messages go the common way.
"""

from __future__ import annotations

from functools import lru_cache

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

EXTENSION = "alphastrat.frames"


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection; what it has not yet written is bounded by its transport's high water."""

    async def run_asgi(self) -> None:
        self.scope["extensions"][EXTENSION] = {"write": self.write, "drop": self.drop}
        await super().run_asgi()

    def write(self, text: str) -> bool:
        """Write a text frame at once; False, and nothing is written, while the page is behind.

        Nothing is owed to a page that is leaving.
        """
        if not self.writable.is_set():
            return False
        if not (self.disconnected or self.close_sent or self.transport.is_closing()):
            self.transport.write(_encoded(text))
        return True

    def drop(self) -> None:
        """End the connection without waiting for the page to read what it was sent."""
        self.transport.abort()


@lru_cache(maxsize=16)
def _encoded(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
