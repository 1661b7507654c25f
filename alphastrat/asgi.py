"""One port for everything: HTTP through WSGI, WebSockets through Channels.

Under a native ASGI handler every synchronous middleware hops threads; HTTP behind the WSGI
handler answers about three times as many requests.
"""

from __future__ import annotations

import os

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

from alphastrat.startup import importing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in wsgi.py
with importing():
    http_application = get_wsgi_application()

    from channels.routing import ProtocolTypeRouter  # needs the app registry

    from alphastrat.routing import websocket_application

application = ProtocolTypeRouter(
    {
        "http": WSGIMiddleware(http_application, workers=8),  # type: ignore[arg-type]
        "websocket": websocket_application,
    }
)
