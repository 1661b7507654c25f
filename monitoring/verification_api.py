"""JSON API of verification: verdicts, expectations, observations, gaps."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema, Status

from alphastrat.core.models import Job
from alphastrat.core.pagination import paged
from alphastrat.core.schemas import PDF_RESPONSE, JobOut
from monitoring.models import Expectation, Verification, VerificationStatus, VerificationTransition
from monitoring.models.verification import VerificationQuerySet
from monitoring.services import gap_ledger, lifecycle_gates, signal_divergence
from monitoring.verification_receivers import verify_now
from monitoring.verification_report import report_response
from portfolio.models import EquityPoint
from strategies.models import Strategy

router = Router(tags=["verification"])


class CheckResultOut(Schema):
    """One check: value and promised interval in its unit, evidence, and the same in words."""

    key: str
    label: str
    state: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    e_value: float | None
    text: str


class SignalAgreementOut(Schema):
    """Live signals against those of the same version on the same bars; none should differ.

    `kinds`: type, strength, missing, extra. `reasons`: repaint, earlier, restated, late, outage.
    """

    n_compared: int
    n_differing: int
    kinds: dict[str, int] = {}
    reasons: dict[str, int] = {}
    first_at: datetime | None = None
    first_reason: str | None = None


class DivergenceOut(Schema):
    """A live signal that differs from the re-run; the side that is missing is empty."""

    time: datetime | None
    symbol: str
    kind: str
    live: str
    live_strength: float | None
    again: str
    again_strength: float | None
    reason: str


class VerificationOut(Schema):
    """The verdict on a strategy. `coverage` is the share of the score's weight that has data."""

    strategy_id: UUID
    status: VerificationStatus
    reason: str
    score: float | None
    coverage: float
    e_value: float | None
    n_bars: int
    n_trades: int
    false_alarms_per_year: float
    tolerance: float
    hard_drawdown: float | None
    on_degraded: str
    observed_to: datetime | None
    evaluated_at: datetime | None
    status_since: datetime | None
    checks: list[CheckResultOut]
    signals: SignalAgreementOut

    @staticmethod
    def resolve_signals(found: Verification) -> dict[str, Any]:
        return dict(found.evidence.get("signals", {"n_compared": 0, "n_differing": 0}))

    @staticmethod
    def resolve_checks(found: Verification) -> list[dict[str, Any]]:
        return list(found.evidence.get("checks", []))


class VerificationFilter(Schema):
    status: VerificationStatus | None = None


class TransitionOut(Schema):
    """A change of the verdict with the evidence that caused it."""

    before: VerificationStatus
    after: VerificationStatus
    happened_at: datetime
    observed_to: datetime | None
    reason: str
    e_value: float | None
    evidence: list[CheckResultOut] | dict[str, Any]


class ExpectationOut(Schema):
    """What a strategy is held to; `summary` holds scalars, levels and regimes."""

    id: UUID
    version_id: UUID
    run_id: UUID | None
    walk_forward_id: UUID | None
    is_out_of_sample: bool
    is_current: bool
    frozen_at: datetime
    n_bars: int
    n_trades: int
    periods_per_year: float
    summary: dict[str, Any]


class ObservationOut(Schema):
    """A live account at the close of a bar; fractions, losses negative."""

    marked_at: datetime
    equity: float
    bar_return: float | None
    gross_exposure: float


class ObservationFilter(Schema):
    since: datetime | None = None


class CauseOut(Schema):
    cause: str
    label: str
    bps: float


class GapEntryOut(Schema):
    """One fill, or pair of fills, and its contribution to the gap in basis points."""

    time: datetime | None
    symbol: str
    side: str
    shadow_quantity: float | None
    shadow_price: float | None
    live_quantity: float | None
    live_price: float | None
    slippage_bps: float | None
    late_bars: int | None
    cause: str
    gap_bps: float


class GapLedgerOut(Schema):
    """Live less shadow by cause; the causes, the residual among them, add up to the gap."""

    live_bps: float
    shadow_bps: float
    gap_bps: float
    computed_to: datetime
    causes: list[CauseOut]
    entries: list[GapEntryOut]


@router.get("/verification", response=list[VerificationOut], url_name="list_verifications")
@paged
def list_verifications(
    request: HttpRequest, wanted: Query[VerificationFilter]
) -> VerificationQuerySet:
    """List the verdicts on all strategies."""
    found = Verification.objects.for_user(request.user).order_by("strategy__name", "pk")
    return found.filter(status=wanted.status) if wanted.status else found


@router.get(
    "/strategies/{uuid:strategy_id}/verification",
    response=VerificationOut,
    url_name="show_verification",
)
def show_verification(request: HttpRequest, strategy_id: UUID) -> Verification:
    """Show the verdict on one strategy with its checks."""
    strategy = _strategy(request, strategy_id)
    return get_object_or_404(Verification, strategy=strategy)


@router.get(
    "/strategies/{uuid:strategy_id}/verification/report",
    url_name="verification_report",
    openapi_extra=PDF_RESPONSE,
)
def report(request: HttpRequest, strategy_id: UUID) -> HttpResponse:
    """Answer the verdict as PDF: checks with what was promised, parts that moved, evidence."""
    return report_response(_strategy(request, strategy_id), at=now())


@router.get(
    "/strategies/{uuid:strategy_id}/verification/transitions",
    response=list[TransitionOut],
    url_name="list_verification_transitions",
)
@paged
def list_transitions(request: HttpRequest, strategy_id: UUID) -> Any:
    """List the changes of the verdict, newest first."""
    return VerificationTransition.objects.filter(strategy=_strategy(request, strategy_id))


@router.get(
    "/strategies/{uuid:strategy_id}/signal-divergences",
    response=list[DivergenceOut],
    url_name="list_signal_divergences",
)
@paged
def list_divergences(request: HttpRequest, strategy_id: UUID) -> Any:
    """List the newest live signals that differ from the re-run, newest first."""
    return signal_divergence.entries(_strategy(request, strategy_id))


@router.get(
    "/strategies/{uuid:strategy_id}/expectations",
    response=list[ExpectationOut],
    url_name="list_expectations",
)
@paged
def list_expectations(request: HttpRequest, strategy_id: UUID) -> Any:
    """List what the strategy promised, newest first; one of them is current."""
    return Expectation.objects.filter(strategy=_strategy(request, strategy_id)).defer(
        "returns", "envelope"
    )


@router.get(
    "/strategies/{uuid:strategy_id}/observations",
    response=list[ObservationOut],
    url_name="list_observations",
)
@paged
def list_observations(
    request: HttpRequest, strategy_id: UUID, wanted: Query[ObservationFilter]
) -> Any:
    """List the live account at every bar close, oldest first."""
    points = EquityPoint.objects.filter(account__strategy=_strategy(request, strategy_id))
    if wanted.since:
        points = points.filter(marked_at__gte=wanted.since)
    return points.order_by("marked_at")


@router.get(
    "/strategies/{uuid:strategy_id}/gap-ledger", response=GapLedgerOut, url_name="show_gap_ledger"
)
def show_gap_ledger(request: HttpRequest, strategy_id: UUID) -> dict[str, Any]:
    """Explain live less shadow, every basis point by its cause."""
    found = gap_ledger.explain(_strategy(request, strategy_id))
    return {
        "live_bps": found.ledger.live_bps,
        "shadow_bps": found.ledger.shadow_bps,
        "gap_bps": found.ledger.gap_bps,
        "computed_to": found.computed_to,
        "causes": found.causes,
        "entries": found.entries,
    }


@router.post(
    "/strategies/{uuid:strategy_id}/verify", response={202: JobOut}, url_name="verify_strategy"
)
def verify(request: HttpRequest, strategy_id: UUID) -> Status[Job]:
    """Run the shadow and judge the strategy now; answers with the job to follow."""
    return Status(202, verify_now(_strategy(request, strategy_id)))


@router.post("/verification/evaluate", response=list[VerificationOut], url_name="evaluate_all")
def evaluate(request: HttpRequest) -> list[Verification]:
    """Judge all of one's live strategies on what is known now; returns those that changed."""
    mine = Strategy.objects.for_user(request.user).active()
    chosen = list(mine.values_list("pk", flat=True))
    found = lifecycle_gates.judge(chosen, at=now()) if chosen else None
    changed = [one.strategy_id for one in found.transitions] if found else []
    return list(Verification.objects.filter(strategy__in=changed))


def _strategy(request: HttpRequest, strategy_id: UUID) -> Strategy:
    found = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(found, pk=strategy_id)
