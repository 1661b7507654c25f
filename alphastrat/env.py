"""Readers for environment variables; anything that makes no sense is fatal at once."""

from __future__ import annotations

import base64
import math
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from alphastrat.servers.state import running_url

BASE_DIR = Path(__file__).resolve().parent.parent
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})
NOT_RUNNING = "The database is not running: run `make run`, or set DATABASE_URL and REDIS_URL."

# Nothing can listen on port 1, so settings load without servers (`manage.py help`, mypy)
# and the first real connection fails at once; manage.py then answers with NOT_RUNNING.
NO_DATABASE_URL = "postgres://alphastrat@127.0.0.1:1/alphastrat"
NO_REDIS_URL = "redis://127.0.0.1:1/0"


class ConfigurationError(Exception):
    """An environment variable holds something that makes no sense; the message says which."""


def env_str(name: str, default: str = "") -> str:
    """Return the variable, stripped of surrounding blanks."""
    return os.environ.get(name, default).strip()


def env_bool(name: str, *, default: bool) -> bool:
    raw = os.environ.get(name)
    if raw is None:
        return default
    word = raw.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ConfigurationError(f"{name} must be one of true, false, yes, no, 1, 0; it is {raw!r}.")


def env_int(
    name: str, default: int, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    raw = env_str(name)
    if not raw:
        return default
    try:
        number = int(raw)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number; it is {raw!r}.") from None
    if minimum is not None and number < minimum:
        raise ConfigurationError(f"{name} must be at least {minimum}; it is {number}.")
    if maximum is not None and number > maximum:
        raise ConfigurationError(f"{name} must be at most {maximum}; it is {number}.")
    return number


def env_float(name: str, default: float) -> float:
    raw = env_str(name)
    if not raw:
        return default
    try:
        number = float(raw)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(f"{name} must be a number; it is {raw!r}.")
    return number


def env_list(name: str, default: Sequence[str] = ()) -> list[str]:
    """Split on commas; blanks around items and empty items are dropped."""
    raw = os.environ.get(name)
    items = default if raw is None else raw.split(",")
    return [item.strip() for item in items if item.strip()]


def env_secret(name: str, default: str = "") -> str:
    """Return NAME, or the contents of the file that NAME_FILE names."""
    path = env_str(f"{name}_FILE")
    if not path:
        return env_str(name, default)
    if env_str(name):
        raise ConfigurationError(f"Set either {name} or {name}_FILE, not both.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"{name}_FILE names {path}, which cannot be read: {reason}."
        ) from None


def var_dir() -> Path:
    """Return the directory of everything the product writes (ALPHASTRAT_VAR, or var/)."""
    chosen = env_str("ALPHASTRAT_VAR")
    return Path(chosen).expanduser().resolve() if chosen else BASE_DIR / "var"


def secret_key(var: Path) -> str:
    """Return SECRET_KEY, or the one kept in var/, made on first use and readable by us alone."""
    given = env_secret("SECRET_KEY")
    if given:
        return given
    path = var / "secret_key"
    if not path.exists():
        _write_secret_once(path, secrets.token_urlsafe(50))
    return path.read_text(encoding="ascii").strip()


def encryption_keys(var: Path) -> list[str]:
    """Return ALPHASTRAT_ENCRYPTION_KEYS, newest first, or the one key kept in var/."""
    given = env_secret("ALPHASTRAT_ENCRYPTION_KEYS") or env_secret("ALPHASTRAT_ENCRYPTION_KEY")
    keys = [key for key in re.split(r"[,\s]+", given) if key]
    for number, key in enumerate(keys, start=1):
        if not _is_fernet_key(key):
            raise ConfigurationError(
                f"Key {number} of ALPHASTRAT_ENCRYPTION_KEYS must be 32 bytes in URL-safe base64; "
                "`manage.py encryption_key` makes one."
            )
    if keys:
        return keys
    path = var / "encryption_key"
    if not path.exists():
        _write_secret_once(path, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return [path.read_text(encoding="ascii").strip()]


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        return False


def _write_secret_once(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(value)
    try:
        # A link fails if the name exists: two first starts at once agree on one key.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def database_url(var: Path) -> str:
    """Return DATABASE_URL, else the URL of the embedded PostgreSQL that is running now."""
    return env_secret("DATABASE_URL") or running_url(var, "postgres") or NO_DATABASE_URL


def redis_url(var: Path) -> str:
    """Return REDIS_URL, else the URL of the embedded Valkey that is running now."""
    url = env_secret("REDIS_URL") or running_url(var, "valkey") or NO_REDIS_URL
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError("REDIS_URL must look like redis://[:password@]host:port/0.")
    return url


def are_servers_known(var: Path) -> bool:
    """Tell whether both server URLs lead somewhere."""
    return database_url(var) != NO_DATABASE_URL and redis_url(var) != NO_REDIS_URL


def database(var: Path) -> dict[str, Any]:
    """Return Django's dictionary of the database to use now."""
    return database_config(database_url(var))


def database_config(url: str) -> dict[str, Any]:
    """Turn postgres://user:password@host:port/name?option=value into Django's dictionary.

    `?host=/path` is a socket directory; other query parameters are handed to libpq
    (sslmode, connect_timeout, ...).
    """
    shape = "DATABASE_URL must look like postgres://user:password@host:port/name"
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ConfigurationError(f"{shape}; AlphaStrat runs on PostgreSQL only.")
    name = unquote(parts.path.lstrip("/"))
    if not name or "/" in name:
        raise ConfigurationError(f"{shape}; the database name is missing or malformed.")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(_port(parts, shape) or ""),
        "OPTIONS": options,
    }


def _port(parts: SplitResult, shape: str) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise ConfigurationError(f"{shape}; the port is not a number.") from None


@dataclass(frozen=True, slots=True)
class EmailConfig:
    """How mail leaves: a mail server, or files under var/mail when none is named."""

    backend: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    use_tls: bool = False
    use_ssl: bool = False


def email() -> EmailConfig:
    """Read EMAIL_URL: smtp://, smtp+tls:// (STARTTLS) or smtps://user:password@host:port."""
    url = env_secret("EMAIL_URL")
    if not url:
        return EmailConfig(backend="django.core.mail.backends.filebased.EmailBackend")
    shape = "EMAIL_URL must look like smtp+tls://user:password@host:587"
    default_ports = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    parts = urlsplit(url)
    if parts.scheme not in default_ports or not parts.hostname:
        raise ConfigurationError(f"{shape}.")
    return EmailConfig(
        backend="django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname,
        port=_port(parts, shape) or default_ports[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        use_tls=parts.scheme == "smtp+tls",
        use_ssl=parts.scheme == "smtps",
    )
