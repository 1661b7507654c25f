"""Settings of the test suite: the product's, with a fast hasher and jobs run where a test says."""

from __future__ import annotations

import os

from alphastrat.settings import *  # noqa: F403
from alphastrat.settings import CHANNEL_LAYERS, Q_CLUSTER, REDIS_URL, STORAGES, VAR_DIR

# Test processes side by side share one Valkey: each has names of its own there.
PART = os.environ.get("PYTEST_XDIST_WORKER", "main")

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
Q_CLUSTER = {**Q_CLUSTER, "name": f"alphastrat-test-{PART}", "sync": False}
CHANNEL_LAYERS = {
    "default": {
        **CHANNEL_LAYERS["default"],
        "CONFIG": {"hosts": [REDIS_URL], "prefix": f"alphastrat-test-{PART}"},
    }
}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
UPLOAD_DIR = VAR_DIR / "test-uploads"
LOG_LEVEL = "WARNING"
LOGGING = {"level": "WARNING", "format": "console"}
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True  # the browser tests run a server of their own
# Every test asks from one address; the tests of the limits set their own.
LOGIN_TRIES_PER_MINUTE = 10_000
API_ANONYMOUS_CALLS_PER_MINUTE = 10_000
