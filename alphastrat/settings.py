"""The only settings: every value comes from the environment, with safe defaults for one machine."""

from __future__ import annotations

from pathlib import Path

from csp.constants import NONE, SELF

from alphastrat import env

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = env.var_dir()

DEBUG = env.env_bool("DEBUG", default=False)
SECRET_KEY = env.secret_key(VAR_DIR)
ALLOWED_HOSTS = env.env_list("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env.env_list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "alphastrat.core",
    "alphastrat.accounts",
    "alphastrat.marketdata",
    "strategies",
    "portfolio",
    "monitoring",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "auditlog",
    "axes",
    "channels",
    "csp",
    "django_htmx",
    "django_prometheus",
    "django_q",
    "ninja",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "alphastrat.core.problems.ProblemMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "alphastrat.core.middleware.RequestContextMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "alphastrat.accounts.audit.AuditMiddleware",
    "alphastrat.core.middleware.ExpectedErrorMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "alphastrat.urls"
WSGI_APPLICATION = "alphastrat.wsgi.application"
ASGI_APPLICATION = "alphastrat.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "alphastrat.core.navigation.navigation",
            ],
        },
    }
]

# --- Servers -------------------------------------------------------------------------------------
DATABASES = {"default": {**env.database(VAR_DIR), "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}}
REDIS_URL = env.redis_url(VAR_DIR)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        # Valkey may be lost at any time: a cache that is away must not fail a request.
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"IGNORE_EXCEPTIONS": True, "SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "alphastrat"},
    }
}

JOB_TIMEOUT_SECONDS = env.env_int("JOB_TIMEOUT_SECONDS", 6 * 3600)
Q_CLUSTER = {
    "name": "alphastrat",
    "redis": REDIS_URL,
    "workers": env.env_int("WORKERS", 2),
    "recycle": 500,
    "timeout": JOB_TIMEOUT_SECONDS,
    "retry": JOB_TIMEOUT_SECONDS + 300,
    "max_attempts": 1,  # the Job row decides about another attempt, not the broker
    "ack_failures": True,
    "catch_up": False,
    "save_limit": -1,  # results live on the Job row
    "label": "Jobs",
}

# --- Parameter searches --------------------------------------------------------------------------
SWEEP_MEMORY_MB = env.env_int("SWEEP_MEMORY_MB", 256)  # for the arrays of one sweep or walk-forward
DASK_SCHEDULER = env.env_str("DASK_SCHEDULER")  # such as tcp://scheduler:8786; empty: this machine

# --- People --------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "monitoring:overview"
LOGOUT_REDIRECT_URL = "accounts:login"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = env.env_int("LOGIN_FAILURE_LIMIT", 8)
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "alphastrat.accounts.lockout.locked_out"
AXES_CLIENT_IP_CALLABLE = "alphastrat.core.clients.client_address"
# The page says when to try again; a try before that must not move the time.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
LOGIN_TRIES_PER_MINUTE = env.env_int("LOGIN_TRIES_PER_MINUTE", 20)  # from one address
API_CALLS_PER_MINUTE = env.env_int("API_CALLS_PER_MINUTE", 600)  # by one user
API_ANONYMOUS_CALLS_PER_MINUTE = env.env_int("API_ANONYMOUS_CALLS_PER_MINUTE", 60)

# --- Safety --------------------------------------------------------------------------------------
HTTPS = env.env_bool("HTTPS", default=False)
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = env.env_int("HSTS_SECONDS", 31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
BEHIND_PROXY = env.env_bool("BEHIND_PROXY", default=False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20
IMPORT_MAX_BYTES = env.env_int("IMPORT_MAX_BYTES", 512 * 2**20)
METRICS_TOKEN = env.env_secret("METRICS_TOKEN", "")
ENCRYPTION_KEYS = env.encryption_keys(VAR_DIR)
# Where people reach this site: the links in messages.
SITE_URL = (env.env_str("SITE_URL") or [*CSRF_TRUSTED_ORIGINS, "http://localhost:8000"][0]).rstrip(
    "/"
)
# Webhooks to addresses inside the network: whoever may add one could reach what is not for them.
WEBHOOK_PRIVATE_ADDRESSES = env.env_bool("WEBHOOK_PRIVATE_ADDRESSES", default=False)
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- Language and time ---------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# --- Files ---------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
UPLOAD_DIR = VAR_DIR / "uploads"
# Strategy types of users: every *.py file in it is checked at start.
PLUGIN_DIR = Path(env.env_str("PLUGIN_DIR") or VAR_DIR / "plugins")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "alphastrat.core.staticfiles.StaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 3600

# --- Market data providers -----------------------------------------------------------------------
MASSIVE_API_KEY = env.env_secret("MASSIVE_API_KEY", "")
MASSIVE_BASE_URL = env.env_str("MASSIVE_BASE_URL", "https://api.massive.com")
MASSIVE_WEBSOCKET_URL = env.env_str("MASSIVE_WEBSOCKET_URL", "wss://socket.massive.com")
MASSIVE_CALLS_PER_MINUTE = env.env_int("MASSIVE_CALLS_PER_MINUTE", 5)
MARKET_DATA_PROVIDERS = env.env_list("MARKET_DATA_PROVIDERS", ("massive", "yfinance"))
# Intraday bars older than this are forgotten by `manage.py prune_bars`; 0 keeps them for ever.
INTRADAY_RETENTION_DAYS = env.env_int("INTRADAY_RETENTION_DAYS", 0)
FEED_PROVIDER = env.env_str("FEED_PROVIDER", "replay")
FEED_SPEED = env.env_float("FEED_SPEED", 28_800.0)  # times real time: a session in 3 seconds
FEED_TIMEFRAME = env.env_str("FEED_TIMEFRAME", "1d")
FEED_LIVE_DAYS = env.env_int("FEED_LIVE_DAYS", 540)  # of the stored bars, the newest are replayed

# --- Brokers -------------------------------------------------------------------------------------
ALPACA_API_KEY = env.env_secret("ALPACA_API_KEY", "")
ALPACA_SECRET_KEY = env.env_secret("ALPACA_SECRET_KEY", "")
ALPACA_BASE_URL = env.env_str("ALPACA_BASE_URL")  # empty: Alpaca's own paper trading address

# --- Mail ----------------------------------------------------------------------------------------
EMAIL = env.email()
EMAIL_BACKEND = EMAIL.backend
EMAIL_HOST = EMAIL.host
EMAIL_PORT = EMAIL.port
EMAIL_HOST_USER = EMAIL.user
EMAIL_HOST_PASSWORD = EMAIL.password
EMAIL_USE_TLS = EMAIL.use_tls
EMAIL_USE_SSL = EMAIL.use_ssl
EMAIL_FILE_PATH = VAR_DIR / "mail"
DEFAULT_FROM_EMAIL = env.env_str("DEFAULT_FROM_EMAIL", "AlphaStrat <alphastrat@localhost>")

# --- Notifications --------------------------------------------------------------------------------
# Deliveries that ended longer ago are forgotten once a day; 0 keeps them for ever.
DELIVERY_RETENTION_DAYS = env.env_int("DELIVERY_RETENTION_DAYS", 90)

# --- Observation ---------------------------------------------------------------------------------
LOG_LEVEL = env.env_str("LOG_LEVEL", "INFO")
LOG_FORMAT = env.env_str("LOG_FORMAT", "json")
LOGGING_CONFIG = "alphastrat.core.logs.configure"
LOGGING = {"level": LOG_LEVEL, "format": LOG_FORMAT}
SENTRY_DSN = env.env_secret("SENTRY_DSN", "")
BUILD = env.env_str("BUILD", "dev")
PROMETHEUS_EXPORT_MIGRATIONS = False

# auditlog: configuration is registered model by model; nothing is recorded by accident.
AUDITLOG_DISABLE_REMOTE_ADDR = False
