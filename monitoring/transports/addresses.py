"""Where messages may go: not to what only this network can reach, unless that is allowed.

Who may add a webhook must not thereby reach the database, the cloud's metadata service or the
neighbour's printer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from django.conf import settings

from monitoring.transports.base import DeliveryFailed

REFUSED = (
    "The address lies inside the private network. "
    "An operator can allow that with WEBHOOK_PRIVATE_ADDRESSES=1."
)
# The addresses of IPv4 hosts as IPv6 writes them: 6to4 and NAT64 lead to the address inside.
NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def public_addresses(host: str, port: int) -> list[str]:
    """Return the addresses of `host`, or raise where one of them is not allowed.

    All of them have to be public: otherwise the name server's order would decide.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryFailed("The name of the host cannot be resolved.", permanent=False) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not settings.WEBHOOK_PRIVATE_ADDRESSES:
        check_public(addresses)
    return addresses


def check_public(addresses: list[str]) -> None:
    """Raise where one of the addresses is not on the public Internet."""
    if not all(is_public(address) for address in addresses):
        raise DeliveryFailed(REFUSED, permanent=True)


def is_public(address: str) -> bool:
    """Whether an address is reachable for everyone."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inside = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in NAT64:
            inside = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(str(inside))
    return parsed.is_global and not parsed.is_multicast
