"""What watches a strategy, as a part of its page: open alerts, and rules with their values."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core.access import Role
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.tables import Column
from monitoring.alert_tables import alert_rows
from monitoring.services import strategy_watch as watch
from strategies.models import Strategy

RULE_COLUMNS = (
    Column("rule.name", "Rule"),
    Column("state", "State", "status"),
    Column("value_text", "Now", "ratio"),
    Column("warning", "Warning", "ratio"),
    Column("critical", "Critical", "ratio"),
    Column("actions", "Actions"),
)


@login_required
@require_GET
def strategy_watch(request: PageRequest, strategy_id: UUID) -> HttpResponse:
    """Answer the open alerts of a strategy and the thresholds that apply to it."""
    strategy = get_object_or_404(Strategy.objects.for_user(request.user), pk=strategy_id)
    at = now()
    alerts = watch.open_alerts(strategy, request.user)
    context = {
        "at": at,
        "strategy": strategy,
        "alerts": alert_rows(alerts, at=at),
        "rules": watch.watching_rules(strategy, alerts=alerts, at=at),
        "rule_columns": RULE_COLUMNS,
        "can_write": request.user.has_role(Role.TRADER),
    }
    page = "monitoring/_strategy_watch.html"
    return render_page(request, page, page, context)
