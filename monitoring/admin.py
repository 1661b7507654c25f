"""Rules are made and changed here as in the app; alerts and silences can be read."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from alphastrat.core.errors import ConflictError
from alphastrat.core.read_only_admin import ReadOnlyAdmin, ReadOnlyInline
from monitoring import transport_admin  # noqa: F401 - registers its pages
from monitoring.models import Alert, AlertEvent, Silence, ThresholdRule
from monitoring.rule_forms import RuleForm
from monitoring.services import rules


class AdminRuleForm(RuleForm):
    """The form of the app, with the owner to choose for a new rule."""

    class Meta(RuleForm.Meta):
        fields: ClassVar[tuple[str, ...]] = ("owner", *RuleForm.Meta.fields)  # type: ignore[assignment,misc]

    def clean_expected_version(self) -> int | None:
        expected: int | None = self.cleaned_data.get("expected_version")
        stored = ThresholdRule.objects.filter(pk=self.instance.pk).first()
        if stored is not None and expected is not None and stored.version != expected:
            raise forms.ValidationError(
                f"Version {stored.version} has been saved meanwhile; load the page again."
            )
        return expected


@admin.register(ThresholdRule)
class ThresholdRuleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Bounds are checked as in the app: at once, field by field, by the same form."""

    form = AdminRuleForm
    list_display = ["name", "owner", "subject", "metric", "bounds", "is_enabled", "version"]
    list_filter = ["scope", "metric", "is_enabled", "template"]
    list_select_related = ["owner", "strategy", "portfolio"]
    search_fields = ["name", "owner__username"]
    fieldsets = [
        (None, {"fields": ["owner", "name", "is_enabled", "expected_version"]}),
        ("What it looks at", {"fields": ["scope", "strategy", "portfolio"]}),
        ("Metric", {"fields": ["metric", "window_bars", "minimum_observations"]}),
        (
            "Bounds, in the unit of the metric (percent where it prints percent)",
            {"fields": ["comparator", "warning_bound", "critical_bound", "clear_bound"]},
        ),
        (
            "When it speaks",
            {
                "fields": [
                    "pending_seconds",
                    "cooldown_seconds",
                    "escalate_after_seconds",
                    "active_calendar",
                    "no_data_policy",
                ]
            },
        ),
    ]

    class Media:
        js = [forms.Script("js/rule_admin.js", type="module")]

    def get_urls(self) -> list[Any]:
        check = self.admin_site.admin_view(self.check_form)
        name = "monitoring_thresholdrule_check"
        return [path("check/", check, name=name), *super().get_urls()]

    def check_form(self, request: HttpRequest) -> JsonResponse:
        """Answer what is wrong with the form so far, for its script."""
        if request.method != "POST" or not self.has_add_permission(request):
            return JsonResponse({"errors": {}}, status=405)
        key = request.POST.get("rule", "")
        stored = (
            ThresholdRule.objects.select_related("owner").filter(pk=key).first() if key else None
        )
        owner = stored.owner if stored is not None else _chosen_owner(request)
        form = RuleForm(request.POST, instance=stored, user=owner)
        form.is_valid()
        form.touched_only()
        return JsonResponse({"errors": form.errors})

    @admin.display(description="Bounds")
    def bounds(self, rule: ThresholdRule) -> str:
        shown = (rules.bound_text(rule, f"{name}_bound") for name in ("warning", "critical"))
        return f"{rule.get_comparator_display()} {' / '.join(shown)}"

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002
        **options: Any,
    ) -> Any:
        form = super().get_form(request, obj, change, **options)
        user = obj.owner if obj is not None else _chosen_owner(request)

        class OwnedForm(form):  # type: ignore[valid-type,misc]
            def __init__(self, *args: Any, **given: Any) -> None:
                super().__init__(*args, user=user, **given)

        return OwnedForm

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["owner"] if obj is not None else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        if not change:
            rules.create_rule(obj)
            return
        with transaction.atomic():
            expected = form.cleaned_data.get("expected_version")
            try:
                rules.change_rule(obj.pk, form.cleaned_data, expected_version=expected)
            except ConflictError as error:
                self.message_user(request, str(error), level="ERROR")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        rules.delete_rule(obj)


def _chosen_owner(request: HttpRequest) -> Any:
    """Return the owner chosen in the form, whose strategies it offers; oneself at first."""
    chosen = request.POST.get("owner", "")
    found = get_user_model().objects.filter(pk=chosen).first() if chosen.isdigit() else None
    return found or request.user


class EventInline(ReadOnlyInline):
    model = AlertEvent
    fields = readonly_fields = ("happened_at", "kind", "by", "text", "value")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ["title", "owner", "subject", "severity", "state", "breached_at", "resolved_at"]
    list_filter = ["state", "severity", "source"]
    list_select_related = ["owner", "strategy", "portfolio"]
    search_fields = ["title", "owner__username", "strategy__name"]
    inlines = [EventInline]


@admin.register(Silence)
class SilenceAdmin(ReadOnlyAdmin):
    list_display = ["comment", "owner", "kind", "starts_at", "ends_at"]
    list_filter = ["kind"]
    list_select_related = ["owner"]
