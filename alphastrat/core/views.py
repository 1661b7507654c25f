"""Jobs, health, metrics, and the pages that say something went wrong."""

from __future__ import annotations

import secrets
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.http import require_GET, require_POST
from django_prometheus.exports import ExportToDjangoView

from alphastrat.core import jobs, live
from alphastrat.core.access import Role, role_required
from alphastrat.core.doctor import READINESS, Verdict, run_checks, worst
from alphastrat.core.exports import table_response
from alphastrat.core.forms import JobFilter
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.models import Job
from alphastrat.core.tables import Column, read_order

JOBS_PER_PAGE = 50
# htmx stops polling a fragment that is answered with this status.
STOP_POLLING = 286

JOB_COLUMNS = (
    Column("title", "Job", link="get_absolute_url"),
    Column("status", "Status", format="status"),
    Column("owner.username", "Owner"),
    Column("done", "Done", format="count"),
    Column("total", "Total", format="count"),
    Column("attempts", "Attempts", format="count"),
    Column("created_at", "Asked for", format="time", sort="created_at"),
    Column("started_at", "Started", format="time", sort="started_at"),
    Column("finished_at", "Finished", format="time", sort="finished_at"),
    Column("error", "Error"),
)


@login_required
@require_GET
def job_list(request: PageRequest) -> HttpResponseBase:
    heads = live.heads(f"jobs:u{request.user.pk}")
    form = JobFilter(request.GET)
    order = read_order(request, JOB_COLUMNS, default="-created_at")
    chosen = form.apply(Job.objects.for_user(request.user).select_related("owner"))
    chosen = chosen.order_by(order.query_value)
    if "format" in request.GET:
        return table_response(chosen, JOB_COLUMNS, name="jobs", form=request.GET["format"])
    page = Paginator(chosen, JOBS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "columns": JOB_COLUMNS,
        "order": order,
        "page": page,
        "running": [job for job in page if job.is_active],
        "heads": {"jobs": heads[f"jobs:u{request.user.pk}"]},
    }
    return render_page(request, "core/job_list.html", "core/_job_results.html", context)


@login_required
@require_GET
def job_detail(request: PageRequest, job_id: UUID) -> HttpResponse:
    heads = live.heads(f"job:{job_id}")
    job = _job(request, job_id)
    if request.htmx and job.status == Job.Status.SUCCEEDED and job.result_url:
        return HttpResponse(status=200, headers={"HX-Refresh": "true"})
    status = 200 if job.is_active or not request.htmx else STOP_POLLING
    context = {"job": job, "heads": heads}
    return render_page(request, "core/job_detail.html", "core/_job.html", context, status)


@role_required(Role.TRADER)
@require_POST
def job_cancel(request: PageRequest, job_id: UUID) -> HttpResponse:
    job = _job(request, job_id)
    jobs.cancel(job, at=now())
    return _changed(request, job)


@role_required(Role.TRADER)
@require_POST
def job_retry(request: PageRequest, job_id: UUID) -> HttpResponse:
    return _changed(request, jobs.retry(_job(request, job_id), at=now()))


def _job(request: PageRequest, job_id: UUID) -> Job:
    return get_object_or_404(Job.objects.for_user(request.user).select_related("owner"), pk=job_id)


def _changed(request: PageRequest, job: Job) -> HttpResponse:
    if not request.htmx:
        return redirect("core:job-detail", job_id=job.pk)
    context = {"job": job}
    return render_page(request, "core/job_detail.html", "core/_job.html", context)


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that this process serves requests; says nothing of what it depends on."""
    return JsonResponse({"status": "ok"})


@require_GET
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer whether this process can do its work; what is wrong, `manage.py doctor` tells."""
    findings = run_checks(READINESS, at=now())
    verdict = worst(findings)
    body = {"status": verdict, **{finding.name: finding.status for finding in findings}}
    return JsonResponse(body, status=503 if verdict is Verdict.ERROR else 200)


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Expose Prometheus metrics to the holder of METRICS_TOKEN and to administrators."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    by_token = settings.METRICS_TOKEN and secrets.compare_digest(given, settings.METRICS_TOKEN)
    user = request.user
    if not by_token and not (user.is_authenticated and user.has_role(Role.ADMIN)):
        raise PermissionDenied("Metrics need METRICS_TOKEN or the admin role.")
    response: HttpResponse = ExportToDjangoView(request)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", {"reason": str(exception)}, status=403)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    # The request's own context may be what failed: render the page without it.
    return render(None, "500.html", {"request_id": getattr(request, "id", "")}, status=500)
