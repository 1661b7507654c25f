"""E-mail, Slack, Telegram, Discord, ntfy, PagerDuty and the rest: the one door to Apprise."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, PersistentStoreMode
from django.conf import settings

from alphastrat.core.errors import InvalidInput
from monitoring.transports.addresses import check_public
from monitoring.transports.base import ATTEMPT_SECONDS, DeliveryFailed, Message

# Apprise reports failures through its log, which we put into the message's own error.
logging.getLogger("apprise").addHandler(logging.NullHandler())
logging.getLogger("apprise").propagate = False

LOCAL_SERVICES = frozenset(
    {"blink1", "dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"}
)
# Parameters that make Apprise read a file of ours.
FILE_PARAMETERS = frozenset(
    {"attach", "file", "key", "keyfile", "pgpkey", "subfile", "template", "vapidkey"}
)
TYPES = {
    "info": NotifyType.INFO,
    "warning": NotifyType.WARNING,
    "critical": NotifyType.FAILURE,
}
_REJECTED = re.compile(r"error[=: ]+(4\d\d)")
TEMPORARY = frozenset({"408", "425", "429"})


def check_address(address: str) -> str:
    """Return the Apprise address, or raise with what is wrong with it."""
    parts = urlsplit(address.strip())
    scheme = parts.scheme.lower()
    if not scheme:
        raise InvalidInput("Begin with the service, such as mailto://, slack:// or tgram://.")
    if scheme in LOCAL_SERVICES:
        raise InvalidInput(f"{scheme}:// shows messages on the server itself, where nobody looks.")
    used = {name.lower().lstrip("+-:") for name, _ in parse_qsl(parts.query)}
    if refused := sorted(used & FILE_PARAMETERS):
        raise InvalidInput(f"The parameter {refused[0]} would read a file of the server.")
    if scheme not in known_schemes():
        raise InvalidInput(f"{scheme}:// is no service that Apprise knows.")
    if _service(address.strip()) is None:
        raise InvalidInput(
            f"The address lacks something that {scheme}:// needs; see the service's page "
            "in Apprise's documentation."
        )
    return address.strip()


def known_schemes() -> frozenset[str]:
    """Return the words an address may begin with."""
    found: set[str] = set()
    for schema in Apprise(asset=_asset()).details()["schemas"]:
        for kind in ("protocols", "secure_protocols"):
            found.update(schema[kind] or ())
    return frozenset(found)


def service_name(address: str) -> str:
    """Return the name of the service behind an address, such as Slack."""
    service = _service(address)
    return str(service.service_name) if service is not None else ""


@dataclass(frozen=True, slots=True)
class Messenger:
    """One address of one of Apprise's services."""

    address: str

    def send(self, message: Message) -> None:
        service = _service(self.address)
        if service is None:
            raise DeliveryFailed("Apprise does not understand the address.", permanent=True)
        _check_host(service)
        apprise = Apprise(asset=_asset())
        apprise.add(service)
        said: list[str] = []
        accepted = apprise.notify(
            title=message.title,
            body=f"{message.body}\n\nReference {message.key}",
            body_format=NotifyFormat.TEXT,
            notify_type=NotifyType.SUCCESS if message.is_recovery else TYPES[message.severity],
            timeout=ATTEMPT_SECONDS,
            log_callback=lambda entry, _: said.append(entry.message),
        )
        if not accepted:
            raise _failure(str(service.service_name), " ".join(said))


def _failure(name: str, said: str) -> DeliveryFailed:
    """Tell a refusal from a disturbance; what Apprise says may quote the address."""
    rejected = _REJECTED.search(said)
    if rejected is not None and rejected[1] not in TEMPORARY:
        return DeliveryFailed(f"{name} answered {rejected[1]}.", permanent=True)
    detail = f"answered {rejected[1]}" if rejected else "did not accept the message"
    return DeliveryFailed(f"{name} {detail}.", permanent=False)


def _check_host(service: Any) -> None:
    """Refuse private hosts. Tokens that stand where a host does are no names to look up."""
    host = str(getattr(service, "smtp_host", None) or getattr(service, "host", None) or "")
    if settings.WEBHOOK_PRIVATE_ADDRESSES or not _is_host(host):
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    check_public([str(entry[4][0]) for entry in found])


def _is_host(text: str) -> bool:
    if text == "localhost" or "." in text:
        return True
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _service(address: str) -> Any:
    service = Apprise.instantiate(address, asset=_asset(), suppress_exceptions=True)
    if service is not None:
        service.redirects = False
    return service


def _asset() -> AppriseAsset:
    return AppriseAsset(
        app_id="AlphaStrat",
        app_desc="AlphaStrat alerts",
        app_url=settings.SITE_URL,
        secure_logging=True,
        storage_mode=PersistentStoreMode.MEMORY,
        pgp_autogen=False,
        pem_autogen=False,
    )
