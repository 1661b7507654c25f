"""The state of the installation, for staff."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.timezone import now
from django.views.decorators.http import require_GET

from alphastrat.core.access import Role, role_required
from alphastrat.core.doctor import OPERATION, run_checks, worst
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.hub import n_open_sockets
from alphastrat.core.models import Heartbeat
from alphastrat.core.tables import Column
from monitoring.services import overview as figures
from monitoring.services.alert_speed import alert_speed, pass_speed
from monitoring.services.system_health import bar_lags, queue

LAG_COLUMNS = (
    Column("timeframe", "Timeframe"),
    Column("source", "Source"),
    Column("n_series", "Series", format="count"),
    Column("newest_at", "Newest bar closed", format="time"),
    Column("lag", "Behind", format="duration"),
)
SPEED_COLUMNS = (
    Column("label", "Step"),
    Column("n", "Times", format="count"),
    Column("median", "Median", format="duration"),
    Column("p95", "95 %", format="duration"),
    Column("longest", "Longest", format="duration"),
    Column("limit", "Limit", format="duration"),
    Column("status", "Status", format="status"),
)
HEARTBEAT_COLUMNS = (
    Column("process", "Process"),
    Column("host", "Host", format="code"),
    Column("pid", "Process id", format="code"),
    Column("started_at", "Started", format="time"),
    Column("beat_at", "Last sign of life", format="age"),
)


@role_required(Role.ADMIN)
@require_GET
def system(request: PageRequest) -> HttpResponse:
    at = now()
    findings = run_checks(OPERATION, at=at)
    context = {
        "at": at,
        "findings": findings,
        "worst": worst(findings),
        "processes": figures.processes(at=at),
        "queue": queue(at=at),
        "speed_columns": SPEED_COLUMNS,
        "speed": [*alert_speed(at=at), *pass_speed(at=at)],
        "n_sockets": n_open_sockets(),
        "lag_columns": LAG_COLUMNS,
        "lags": bar_lags(at=at),
        "heartbeat_columns": HEARTBEAT_COLUMNS,
        "heartbeats": Heartbeat.objects.order_by("process", "-beat_at")[:50],
    }
    return render_page(request, "monitoring/system.html", "monitoring/_system.html", context)
