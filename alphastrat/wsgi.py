"""HTTP: pages and API."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from alphastrat.startup import importing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings")
# A page's matrices are small and requests share the cores: threads of each would only wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

with importing():
    application = get_wsgi_application()
