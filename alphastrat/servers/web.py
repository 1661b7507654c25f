"""The web process: uvicorn on a socket that the supervisor opened and keeps open.

While the process starts again, browsers wait in the socket's queue and are not turned away.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence

import uvicorn

from alphastrat.servers.sockets import SocketProtocol


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the open socket")
    options = parser.parse_args(arguments)
    config = uvicorn.Config(
        "alphastrat.asgi:application",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        ws=SocketProtocol,
        # Frames are small and go to many: compressing costs each socket memory and each frame time.
        ws_per_message_deflate=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
