"""Portfolios, limits and policies are configured here; accounts and what they did can be read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.timezone import now

from alphastrat.core.read_only_admin import ReadOnlyAdmin, ReadOnlyInline
from portfolio.admin_forms import LimitsAdminForm, PortfolioAdminForm
from portfolio.models import (
    Account,
    BrokerDifference,
    BrokerKey,
    CashMovement,
    Fill,
    FormerMember,
    Optimisation,
    Order,
    Portfolio,
    PortfolioAllocation,
    PortfolioMember,
    Position,
    Rebalance,
    RebalanceTrade,
    RiskAction,
    RiskLimits,
    StrategyStanding,
)
from portfolio.quant.limit_catalogue import LIMITS
from portfolio.rebalancing_forms import TriggerFields
from portfolio.services import memberships, portfolios, rebalancing
from strategies.models import Strategy


class MemberInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who joins counts from now on; what one that leaves did stays the portfolio's."""

    model = PortfolioMember
    extra = 0
    formfield_overrides = {
        models.CharField: {"widget": forms.TextInput(attrs={"size": 12})},
        models.FloatField: {
            "widget": forms.NumberInput(attrs={"class": "vIntegerField", "step": "any"})
        },
    }
    fields = [
        "strategy",
        "group",
        "target_weight",
        "minimum_weight",
        "maximum_weight",
        "locked_until",
    ]

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        self.portfolio = obj
        return super().get_formset(request, obj, **options)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "strategy" and self.portfolio is not None:
            free = models.Q(portfolio_members=None) | models.Q(
                portfolio_members__portfolio=self.portfolio
            )
            own = Strategy.objects.filter(owner=self.portfolio.owner_id)
            options["queryset"] = own.filter(free).order_by("name")
        return super().formfield_for_foreignkey(db_field, request, **options)


class FormerInline(ReadOnlyInline):
    model = FormerMember
    fields = readonly_fields = ("strategy", "group", "added_at", "left_at")


@admin.register(Portfolio)
class PortfolioAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Trading is stopped on the page of its risk, which keeps who did it and why."""

    form = PortfolioAdminForm
    list_display = ["name", "owner", "currency", "reserve", "trading_state", "updated_at"]
    list_filter = ["trading_state", "currency"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__username"]
    readonly_fields = ["trading_state", "state_reason", "state_changed_at", "keeps_protection"]
    actions = None
    fieldsets = [
        (None, {"fields": ["owner", "name", "currency", "reserve"]}),
        ("Rebalancing policy", {"fields": tuple(TriggerFields.base_fields)}),
        ("Trading", {"fields": tuple(readonly_fields)}),
    ]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # Whose strategies may join is known once there is an owner.
        return [] if obj is None else [MemberInline, FormerInline]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, *([] if obj is None else ["owner"])]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and (obj.rebalances.exists() or obj.allocations.exists()):
            return False
        return super().has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        portfolios.remove_portfolio(obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        with transaction.atomic():
            obj.save()
            rebalancing.set_settings(obj, form.values())

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:  # noqa: FBT001
        at, portfolio = now(), form.instance
        with_past = not memberships.has_history(portfolio)
        changed = formset.save(commit=False)
        memberships.leave(formset.deleted_objects, at=at)
        memberships.join([one for one in changed if one._state.adding], with_past=with_past, at=at)
        for one in changed:
            one.save()
        portfolios.announce(portfolio)


def _limits_by_scope() -> list[Any]:
    scopes: dict[str, list[str]] = {}
    for spec in LIMITS.values():
        scopes.setdefault(spec.scope, []).append(spec.name)
    return [(f"Of {scope}", {"fields": tuple(names)}) for scope, names in scopes.items()]


@admin.register(RiskLimits)
class RiskLimitsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """They judge the next order."""

    form = LimitsAdminForm
    list_display = ["__str__", "owner", "drawdown_action", "updated_at"]
    list_filter = ["drawdown_action"]
    list_select_related = ["owner", "portfolio", "strategy"]
    search_fields = ["owner__username", "portfolio__name", "strategy__name"]
    autocomplete_fields = ["portfolio"]
    fieldsets = [
        (None, {"fields": ["owner", "portfolio", "strategy", "drawdown_action"]}),
        *_limits_by_scope(),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["owner", "portfolio", "strategy"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        obj.values = form.values()
        obj.save()
        messages.info(request, "The limits judge the next order.")


class PositionInline(ReadOnlyInline):
    model = Position
    fields = readonly_fields = (
        "instrument",
        "quantity",
        "cost",
        "realised",
        "commission",
        "mark_price",
        "marked_at",
    )


class MovementInline(ReadOnlyInline):
    model = CashMovement
    fields = readonly_fields = ("moved_at", "kind", "amount", "source", "execution_id")


class KeyInline(ReadOnlyInline):
    """What may be shown of the key."""

    model = BrokerKey
    fields = readonly_fields = ("hint", "stored_at")


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Derived from fills and movements, which are only ever appended."""

    list_display = ["strategy", "broker", "reference", "equity", "opened_at", "closed_at"]
    list_filter = ["broker", ("closed_at", admin.EmptyFieldListFilter)]
    list_select_related = ["strategy"]
    search_fields = ["strategy__name", "reference", "strategy__owner__username"]
    inlines = [PositionInline, MovementInline, KeyInline]


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ["client_order_id", "account", "instrument", "side", "reason", "status"]
    list_filter = ["status", "reason", "side"]
    list_select_related = ["account__strategy", "instrument"]
    search_fields = ["client_order_id", "broker_order_id", "instrument__symbol"]


@admin.register(Fill)
class FillAdmin(ReadOnlyAdmin):
    list_display = ["execution_id", "account", "instrument", "side", "quantity", "price"]
    list_filter = ["source", "side", "is_cancelled"]
    list_select_related = ["account__strategy", "instrument"]
    search_fields = ["execution_id", "instrument__symbol"]


class TradeInline(ReadOnlyInline):
    model = RebalanceTrade
    fields = readonly_fields = (
        "sequence",
        "strategy",
        "weight_before",
        "weight_after",
        "amount",
        "cost",
        "done_at",
        "note",
    )


@admin.register(Rebalance)
class RebalanceAdmin(ReadOnlyAdmin):
    list_display = ["portfolio", "trigger", "status", "turnover", "cost", "proposed_at"]
    list_filter = ["status", "trigger"]
    list_select_related = ["portfolio"]
    search_fields = ["portfolio__name"]
    inlines = [TradeInline]


@admin.register(RiskAction)
class RiskActionAdmin(ReadOnlyAdmin):
    list_display = ["taken_at", "portfolio", "strategy", "trading_state", "code", "taken_by"]
    list_filter = ["trading_state", "code"]
    list_select_related = ["portfolio", "strategy", "taken_by"]


@admin.register(StrategyStanding)
class StrategyStandingAdmin(ReadOnlyAdmin):
    list_display = ["strategy", "trading_state", "verification", "scale", "reason", "changed_at"]
    list_filter = ["trading_state", "verification"]
    list_select_related = ["strategy"]


@admin.register(Optimisation)
class OptimisationAdmin(ReadOnlyAdmin):
    list_display = ["portfolio", "method", "status", "requested_at", "finished_at"]
    list_filter = ["status", "method"]
    list_select_related = ["portfolio"]


@admin.register(PortfolioAllocation)
class PortfolioAllocationAdmin(ReadOnlyAdmin):
    list_display = ["allocated_at", "portfolio", "strategy", "weight", "target_weight", "capital"]
    list_select_related = ["portfolio", "strategy"]


@admin.register(BrokerDifference)
class BrokerDifferenceAdmin(ReadOnlyAdmin):
    list_display = ["account", "kind", "subject", "ours", "theirs", "resolution", "found_at"]
    list_filter = ["kind", "resolution"]
    list_select_related = ["account__strategy"]
