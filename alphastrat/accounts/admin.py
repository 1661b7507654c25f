"""People are made and given roles here; tokens can be seen and revoked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import now

from alphastrat.accounts.models import ApiToken, User
from alphastrat.core.access import Role

# Rights follow from the role alone: groups would be a second, silent source of them.
admin.site.unregister(Group)
admin.site.site_header = admin.site.site_title = "AlphaStrat administration"


class PersonForm(UserChangeForm):  # type: ignore[type-arg]
    """An administrator cannot lock themselves out by mistake."""

    editor: User

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.instance.pk == self.editor.pk:
            is_demoted = cleaned.get("role") != Role.ADMIN and not self.instance.is_superuser
            if is_demoted or not cleaned.get("is_active", True):
                raise ValidationError("Ask another administrator to take away your own access.")
        return cleaned


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    form = PersonForm
    add_form = AdminUserCreationForm
    list_display = ["username", "email", "role", "is_active", "last_login"]
    list_filter = ["role", "is_active"]
    filter_horizontal = []
    readonly_fields = ["last_login", "date_joined", "is_superuser"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email", "timezone"]}),
        ("Rights", {"fields": ["role", "is_active", "is_superuser"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (
            None,
            {"fields": ["username", "email", "role", "usable_password", "password1", "password2"]},
        ),
    ]

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        form.editor = request.user  # type: ignore[attr-defined]
        return form


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read-only: a token is made by its owner, and anyone's can be revoked."""

    list_display = ["name", "user", "scope", "hint", "last_used_at", "expires_at", "revoked_at"]
    list_filter = ["scope"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username"]
    actions = ["revoke_selected"]

    @admin.action(description="Revoke selected tokens")
    def revoke_selected(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        for token in tokens:
            token.revoke(at=now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
