"""Transports are configured here as in the app; their credentials go in and never come out."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import now

from alphastrat.core.errors import InvalidInput
from alphastrat.core.read_only_admin import ReadOnlyAdmin
from monitoring.models import Notification, Transport
from monitoring.services import transports
from monitoring.services.transports import TransportDraft, check_address


class TransportAdminForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a transport does; an address is entered, not read."""

    address_entered = forms.CharField(
        label="Address",
        max_length=1000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Kept encrypted and never shown. Empty keeps the stored one.",
    )

    class Meta:
        model = Transport
        fields: ClassVar[tuple[str, ...]] = (
            "owner",
            "name",
            "kind",
            "minimum_severity",
            "is_for_escalation",
            "sends_recovery",
            "is_enabled",
        )

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        owner = self.cleaned_data.get("owner") or getattr(self.instance, "owner", None)
        same = Transport.objects.filter(owner=owner, name=name).exclude(pk=self.instance.pk)
        if same.exists():
            raise forms.ValidationError("Its owner has a transport of this name.")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        address = cleaned.get("address_entered") or ""
        kind = cleaned.get("kind") or self.instance.kind
        if not address and self.instance._state.adding:
            self.add_error("address_entered", "A new transport needs an address.")
        elif address and kind:
            try:
                check_address(str(kind), address)
            except InvalidInput as error:
                self.add_error("address_entered", str(error))
        return cleaned

    def draft(self) -> TransportDraft:
        values = self.cleaned_data
        return TransportDraft(
            name=values["name"],
            kind=str(values.get("kind") or self.instance.kind),
            address=values["address_entered"],
            minimum_severity=values["minimum_severity"],
            is_for_escalation=values["is_for_escalation"],
            sends_recovery=values["sends_recovery"],
        )


@admin.register(Transport)
class TransportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The secret that a webhook signs with is its owner's: rotating it on the page shows it."""

    form = TransportAdminForm
    list_display = ["name", "owner", "kind", "hint", "minimum_severity", "is_enabled", "tested_at"]
    list_filter = ["kind", "minimum_severity", "is_enabled"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__username"]
    readonly_fields = ["hint", "key_rotated_at", "tested_at", "test_error"]
    actions = ["send_tests"]
    fieldsets = [
        (None, {"fields": ["owner", "name", "kind", "address_entered", "hint"]}),
        (
            "What it is told",
            {"fields": ["minimum_severity", "is_for_escalation", "sends_recovery", "is_enabled"]},
        ),
        ("Last test", {"fields": ["key_rotated_at", "tested_at", "test_error"]}),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, *([] if obj is None else ["owner", "kind"])]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        wants_on = form.cleaned_data["is_enabled"]
        if change:
            stored = Transport.objects.get(pk=obj.pk)
            transports.change_transport(stored, form.draft())
        else:
            stored, _secret = transports.add_transport(obj.owner, form.draft())
            obj.pk, obj._state.adding = stored.pk, False
        if stored.is_enabled != wants_on:
            transports.switch(stored, on=wants_on, at=now())

    @admin.action(description="Send a test message")
    def send_tests(self, request: HttpRequest, chosen: QuerySet[Transport]) -> None:
        for transport in chosen:
            error = transports.send_test(transport, at=now())
            words = error or "the test was accepted"
            self.message_user(
                request, f"{transport.name}: {words}", level="ERROR" if error else "SUCCESS"
            )


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ["title", "transport", "status", "attempts", "queued_at", "sent_at", "error"]
    list_filter = ["status", "transport__kind"]
    list_select_related = ["transport"]
    search_fields = ["title", "transport__name", "transport__owner__username"]
    exclude = ["payload", "claimed_by"]
