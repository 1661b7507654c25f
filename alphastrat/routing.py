"""WebSocket routes: one live socket per page, or per program with a token."""

from __future__ import annotations

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from alphastrat.accounts.socket_access import SocketAccess
from alphastrat.core.consumers import LiveConsumer

sockets = URLRouter([path("ws/live/", LiveConsumer.as_asgi())])
websocket_application = SocketAccess(
    pages=AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)), programs=sockets
)
