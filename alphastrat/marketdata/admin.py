"""Instruments and corporate actions are kept here; what is derived or recorded can be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from alphastrat.core.read_only_admin import ReadOnlyAdmin
from alphastrat.marketdata.models import (
    BarSeries,
    CorporateAction,
    ImportRun,
    Instrument,
    QualityFinding,
)


@admin.register(Instrument)
class InstrumentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["symbol", "name", "asset_class", "exchange", "currency", "sector", "is_active"]
    list_filter = ["asset_class", "exchange", "sector", "is_active"]
    search_fields = ["symbol", "name"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its bars stay: switch it off instead


@admin.register(CorporateAction)
class CorporateActionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["instrument", "kind", "ex_date", "split_ratio", "cash_amount", "source"]
    list_filter = ["kind", "source"]
    list_select_related = ["instrument"]
    autocomplete_fields = ["instrument"]
    search_fields = ["instrument__symbol"]
    date_hierarchy = "ex_date"


@admin.register(BarSeries)
class BarSeriesAdmin(ReadOnlyAdmin):
    list_display = [
        "instrument",
        "timeframe",
        "adjustment",
        "source",
        "bar_count",
        "first_opened_at",
        "last_closed_at",
        "revision",
    ]
    list_filter = ["timeframe", "adjustment", "source"]
    list_select_related = ["instrument"]
    search_fields = ["instrument__symbol"]


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "source", "owner", "rows_read", "rows_stored", "requested_at"]
    list_filter = ["status", "source"]
    list_select_related = ["owner"]


@admin.register(QualityFinding)
class QualityFindingAdmin(ReadOnlyAdmin):
    list_display = ["series", "kind", "start_at", "n_bars", "detail", "resolved_at"]
    list_filter = ["kind", ("resolved_at", admin.EmptyFieldListFilter)]
    list_select_related = ["series__instrument"]
    search_fields = ["series__instrument__symbol"]
