"""Pick and check TCP ports."""

from __future__ import annotations

import socket

from alphastrat.servers.errors import ServerError

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def pick_port(remembered: int | None) -> int:
    """Return the remembered port if it is still free, else any free one."""
    if remembered and is_free(remembered):
        return remembered
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for the web process; one clear sentence when it cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ServerError(f"HOST={host} is not an address of this machine.") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except PermissionError:
        listener.close()
        raise ServerError(
            f"Port {port} needs root: choose one above 1023, for example `make run PORT=8000`."
        ) from None
    except OSError as error:
        listener.close()
        raise ServerError(
            f"Cannot listen on {host} port {port} ({error.strerror}): "
            f"choose another with `make run PORT={min(port + 1, 65535)}`."
        ) from None
    listener.listen(512)
    listener.set_inheritable(True)
    return listener
