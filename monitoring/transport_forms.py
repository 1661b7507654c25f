"""The form of a transport, and how the address of each service looks."""

from __future__ import annotations

from typing import Any

from django import forms

from alphastrat.core.errors import InvalidInput
from monitoring.models import Notification, NotificationStatus, Transport
from monitoring.models.notification import NotificationQuerySet
from monitoring.services.transports import TransportDraft, check_address

# Service, what its address looks like, and where its parts come from.
EXAMPLES = (
    ("E-mail", "mailtos://user:password@mail.example.com?to=you@example.com", "your mail account"),
    ("Slack", "slack://TokenA/TokenB/TokenC/#channel", "an incoming webhook of your workspace"),
    ("Telegram", "tgram://bot-token/chat-id", "@BotFather, and the chat’s id"),
    ("Discord", "discord://webhook-id/webhook-token", "the channel’s integrations"),
    ("ntfy", "ntfys://ntfy.sh/topic", "a topic that nobody guesses"),
    ("PagerDuty", "pagerduty://integration-key@api-key", "a service’s integrations"),
    ("Microsoft Teams", "workflows://host/workflow-id/signature", "a workflow of the channel"),
    ("Webhook", "https://hooks.example.com/alphastrat", "your own server"),
)


class TransportForm(forms.Form):
    """Where messages go; the stored address is never shown again."""

    name = forms.CharField(max_length=80, help_text="Such as “Phone” or “Desk channel”.")
    kind = forms.ChoiceField(
        label="Type",
        choices=Transport.Kind.choices,
        help_text="Messengers and e-mail get text; a webhook gets signed JSON.",
    )
    address = forms.CharField(
        max_length=1000,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Kept encrypted and never shown again. How it looks: see below.",
    )
    minimum_severity = forms.ChoiceField(
        label="From severity", choices=Transport._meta.get_field("minimum_severity").choices or []
    )
    is_for_escalation = forms.BooleanField(
        label="Only what nobody acknowledged in time", required=False
    )
    sends_recovery = forms.BooleanField(label="Say when it is over as well", required=False)

    def __init__(
        self, *args: Any, owner: Any, transport: Transport | None = None, **options: Any
    ) -> None:
        options.setdefault("initial", _initial(transport))
        super().__init__(*args, **options)
        self._owner, self._transport = owner, transport
        if transport is not None:
            self.fields["address"].required = False
            self.fields["address"].help_text = f"Empty keeps {transport.hint}"
            self.fields["kind"].disabled = True

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        same = Transport.objects.filter(owner=self._owner, name=name)
        if self._transport is not None:
            same = same.exclude(pk=self._transport.pk)
        if same.exists():
            raise forms.ValidationError("You have a transport of this name.")
        return name

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("address") and values.get("kind"):
            try:
                check_address(values["kind"], values["address"])
            except InvalidInput as error:
                self.add_error("address", str(error))
        return values

    def forgive_blanks(self) -> None:
        """Drop the complaints about fields that nobody has filled in yet."""
        for name in list(self.errors):
            if name in self.fields and not self[name].value():
                del self.errors[name]

    def draft(self) -> TransportDraft:
        """Return what the valid form says."""
        return TransportDraft(**self.cleaned_data)


class DeliveryFilter(forms.Form):
    """Choose messages by state and transport."""

    status = forms.ChoiceField(
        label="State", choices=[("", "Any"), *NotificationStatus.choices], required=False
    )
    transport = forms.ModelChoiceField(
        queryset=Transport.objects.none(), required=False, empty_label="Any"
    )

    def __init__(self, *args: Any, user: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field: Any = self.fields["transport"]
        field.queryset = Transport.objects.for_user(user)

    def apply(self, found: NotificationQuerySet) -> NotificationQuerySet:
        """Return the messages that match; a filter that makes no sense is left out."""
        self.is_valid()
        if status := self.cleaned_data.get("status"):
            found = found.filter(status=status)
        if transport := self.cleaned_data.get("transport"):
            found = found.filter(transport=transport)
        return found


def _initial(transport: Transport | None) -> dict[str, Any]:
    if transport is None:
        return {"minimum_severity": "warning", "sends_recovery": True, "kind": "apprise"}
    names = ("name", "kind", "minimum_severity", "is_for_escalation", "sends_recovery")
    return {name: getattr(transport, name) for name in names}


STATUS_BADGES = {
    Notification.Status.QUEUED: "queued",
    Notification.Status.SENDING: "running",
    Notification.Status.SENT: "sent",
    Notification.Status.MUTED: "silenced",
    Notification.Status.DEAD: "failed",
}
