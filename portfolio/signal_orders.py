"""What became of signals: the order that each gave, added to the table of signals."""

from __future__ import annotations

from django.db.models import Case, F, OuterRef, Subquery, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Concat

from alphastrat.core.tables import Column
from portfolio.models import Order
from strategies.models.signal import StrategySignalQuerySet
from strategies.services.table_additions import TableAddition


class OrderAddition(TableAddition):
    """The status of a signal's order; of one that was denied also the reason."""

    columns = (Column("acted", "Order"),)

    def annotate(self, signals: StrategySignalQuerySet) -> StrategySignalQuerySet:
        words = Case(
            When(
                denials__0__message__isnull=False,
                then=Concat(
                    F("status"), Value(": "), KT("denials__0__message"), output_field=TextField()
                ),
            ),
            default=F("status"),
            output_field=TextField(),
        )
        orders = Order.objects.filter(signal=OuterRef("pk")).order_by("-decided_at")
        return signals.annotate(acted=Subquery(orders.values(words=words)[:1]))
