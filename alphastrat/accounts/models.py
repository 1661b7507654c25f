"""People, what they may do, how they like their pages, and their API tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from functools import cache
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser, UserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from alphastrat.core.access import Role
from alphastrat.core.constraints import choices_check
from alphastrat.core.models import UUIDModel

TOKEN_MARK = "as_"
HINT_LENGTH = 8
TOUCH_EVERY = timedelta(minutes=1)


@cache
def time_zone_names() -> tuple[str, ...]:
    """Return the names a person may choose from, sorted."""
    return tuple(sorted(available_timezones() - {"Factory", "localtime"}))


def validate_time_zone(name: str) -> None:
    if name not in time_zone_names():
        raise ValidationError(f"{name!r} is not a time zone; use a name such as Europe/Berlin.")


class PeopleManager(UserManager["User"]):
    """Creates people; the role decides who is staff."""

    use_in_migrations = False

    def create_user(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        user = self.model(
            username=self.model.normalize_username(username),
            email=self.normalize_email(email),
            **fields,
        )
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        rights = {"is_superuser": True, "role": Role.ADMIN.value}
        return self.create_user(username, email, password, **fields, **rights)


class User(AbstractUser):
    """A person: role, time zone and interface preferences."""

    class Theme(models.TextChoices):
        SYSTEM = "system", "As the system"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    class Palette(models.TextChoices):
        TEAL_RED = "teal-red", "Teal and red (default, readable with colour blindness)"
        BLUE_ORANGE = "blue-orange", "Blue and orange"
        GREEN_RED = "green-red", "Green and red"
        RED_UP = "red-up", "Red up, green down"

    class Density(models.TextChoices):
        COMPACT = "compact", "Compact"
        COMFORTABLE = "comfortable", "Comfortable"

    role = models.CharField(
        max_length=6,
        choices=[(role.value, role.value.title()) for role in Role],
        default=Role.VIEWER.value,
        help_text="Viewers look, traders work, administrators configure.",
    )
    timezone = models.CharField(max_length=50, default="UTC", validators=[validate_time_zone])
    theme = models.CharField(max_length=6, choices=Theme, default=Theme.SYSTEM)
    pnl_palette = models.CharField(max_length=12, choices=Palette, default=Palette.TEAL_RED)
    density = models.CharField(max_length=11, choices=Density, default=Density.COMPACT)
    shortcuts_enabled = models.BooleanField(default=True)

    objects: ClassVar[PeopleManager] = PeopleManager()

    class Meta(AbstractUser.Meta):
        verbose_name = "user"
        constraints = [
            choices_check("accounts_user_role", "role", [role.value for role in Role]),
            choices_check("accounts_user_theme", "theme", ["system", "light", "dark"]),
            choices_check(
                "accounts_user_palette",
                "pnl_palette",
                ["teal-red", "blue-orange", "green-red", "red-up"],
            ),
            choices_check("accounts_user_density", "density", ["compact", "comfortable"]),
            # Alice and alice would be mistaken for each other in the audit log.
            models.UniqueConstraint(Lower("username"), name="accounts_user_unique_username"),
        ]

    @property
    def is_staff(self) -> bool:  # type: ignore[override]
        """Whether the Django admin and the style guide are open: a consequence of the role."""
        return self.has_role(Role.ADMIN)

    def has_perm(self, perm: str, obj: models.Model | AnonymousUser | None = None) -> bool:
        """Administrators hold every permission of the Django admin; nobody else any."""
        return self.is_active and self.has_role(Role.ADMIN)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.has_role(Role.ADMIN)

    def has_role(self, role: Role | str) -> bool:
        """Whether the user may do what `role` may do."""
        return self.is_superuser or Role(self.role).covers(Role(role))

    @property
    def sees_everyone(self) -> bool:
        """Whether the user sees what belongs to others; changing it is another matter."""
        return self.is_superuser or Role(self.role).sees_everyone

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Tokens by owner and state."""

    def for_user(self, user: Any) -> ApiTokenQuerySet:
        """Return the user's own tokens: nobody manages another person's."""
        return self.filter(user=user)

    def usable(self, *, at: datetime) -> ApiTokenQuerySet:
        return self.filter(revoked_at__isnull=True, user__is_active=True).filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=at)
        )

    def matching(self, secret: str, *, at: datetime) -> ApiToken | None:
        """Return the usable token whose secret this is."""
        found = self.usable(at=at).select_related("user")
        return found.filter(digest=ApiToken.digest_of(secret)).first()


class ApiToken(UUIDModel):
    """A key to the API. Only a digest is kept; the secret is shown once."""

    class Scope(models.TextChoices):
        READ = "read", "Read"
        READ_WRITE = "read-write", "Read and write"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.READ)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=HINT_LENGTH, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API token"
        constraints = [
            choices_check("accounts_apitoken_scope", "scope", ["read", "read-write"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @staticmethod
    def digest_of(secret: str) -> str:
        # The secret carries 256 random bits: a plain digest cannot be searched.
        return hashlib.sha256(secret.encode()).hexdigest()

    @classmethod
    def issue(
        cls, user: User, *, name: str, scope: str, expires_at: datetime | None = None
    ) -> tuple[ApiToken, str]:
        """Create a token and return it with its secret, which cannot be read again."""
        secret = TOKEN_MARK + secrets.token_urlsafe(32)
        token = cls.objects.create(
            user=user,
            name=name,
            scope=scope,
            digest=cls.digest_of(secret),
            hint=secret[:HINT_LENGTH],
            expires_at=expires_at,
        )
        return token, secret

    @property
    def may_write(self) -> bool:
        return self.scope == self.Scope.READ_WRITE

    def is_usable(self, *, at: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)

    def touch(self, *, at: datetime) -> None:
        """Note that the token was used, at most once a minute: reads must stay cheap."""
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=at - TOUCH_EVERY)
        if self.last_used_at is None or self.last_used_at < at - TOUCH_EVERY:
            ApiToken.objects.filter(stale, pk=self.pk).update(last_used_at=at)

    def revoke(self, *, at: datetime) -> None:
        """Make the token useless from now on."""
        self.refresh_from_db(fields=["revoked_at"])
        if self.revoked_at is None:
            self.revoked_at = at
            self.save(update_fields=["revoked_at"])  # through save: the audit log must see it
