"""JSON API of threshold rules."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Router, Status

from alphastrat.core.errors import InvalidInput
from alphastrat.core.http import ApiRequest
from alphastrat.core.pagination import paged
from monitoring.alert_schemas import (
    RuleChangeIn,
    RuleIn,
    RuleMetricOut,
    RuleOut,
    RulePreviewOut,
)
from monitoring.models import ThresholdRule
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services import rule_previews, rules
from portfolio.models import Portfolio
from strategies.models import Strategy

router = Router(tags=["thresholds"])


@router.get("", response=list[RuleOut], url_name="list_thresholds")
@paged
def list_thresholds(request: ApiRequest) -> Any:
    """List your threshold rules by name; administrators and viewers see everyone's."""
    return _rules(request)


@router.get("/metrics", response=list[RuleMetricOut], url_name="list_threshold_metrics")
def list_metrics(request: ApiRequest) -> list[dict[str, Any]]:
    """List the metrics that rules can be about; stored bounds times `scale` are in `unit`."""
    names = set(RuleMetricOut.model_fields) - {"key"}
    return [
        {"key": key, **{name: getattr(metric, name) for name in names}}
        for key, metric in METRICS.items()
    ]


@router.post("", response={201: RuleOut}, url_name="create_threshold")
def create_threshold(request: ApiRequest, asked: RuleIn) -> Status[ThresholdRule]:
    """Make a rule; it is evaluated at once."""
    return Status(201, rules.create_rule(_draft(request.user, asked)))


@router.post("/preview", response=RulePreviewOut, url_name="preview_threshold")
def preview_threshold(request: ApiRequest, asked: RuleIn) -> dict[str, Any]:
    """Tell when a rule would have fired over the last year, and how often by chance."""
    tried = rule_previews.preview(_draft(request.user, asked), at=now())
    subjects = [
        {
            "name": one.series.name,
            "strategy_id": one.series.strategy_id,
            "source": one.series.source,
            "n_fired": len(one.fired),
            "fired_at": one.fired_at,
            "n_years": one.n_years,
            "chance_per_year": one.chance.per_year if one.chance else None,
            "chance_error": one.chance.error if one.chance else None,
        }
        for one in tried.subjects
    ]
    return {
        "words": tried.words,
        "n_fired": tried.n_fired,
        "chance_per_year": tried.chance_per_year,
        "n_left_out": tried.n_left_out,
        "subjects": subjects,
    }


@router.get("/{uuid:rule_id}", response=RuleOut, url_name="get_threshold")
def get_threshold(request: ApiRequest, rule_id: UUID) -> ThresholdRule:
    """Show a rule."""
    return _rule(request, rule_id)


@router.put("/{uuid:rule_id}", response=RuleOut, url_name="change_threshold")
def change_threshold(request: ApiRequest, rule_id: UUID, asked: RuleChangeIn) -> ThresholdRule:
    """Change a rule; 409 where `version` is not the newest one."""
    rule = _rule(request, rule_id)
    draft = _draft(rule.owner, asked, rule)
    values = {name: getattr(draft, name) for name in rules.FIELDS}
    rules.change_rule(rule.pk, values, expected_version=asked.version)
    return _rule(request, rule_id)


@router.delete("/{uuid:rule_id}", response={204: None}, url_name="delete_threshold")
def delete_threshold(request: ApiRequest, rule_id: UUID) -> Status[None]:
    """Delete a rule; its open alerts end."""
    rules.delete_rule(_rule(request, rule_id))
    return Status(204, None)


def _rules(request: ApiRequest) -> Any:
    found = ThresholdRule.objects.for_user(request.user)
    return found.select_related("owner", "strategy", "portfolio")


def _rule(request: ApiRequest, rule_id: UUID) -> ThresholdRule:
    rule: ThresholdRule = get_object_or_404(_rules(request), pk=rule_id)
    return rule


def _draft(owner: Any, asked: RuleIn, stored: ThresholdRule | None = None) -> ThresholdRule:
    """Return the rule as asked for, checked and unsaved."""
    values = asked.model_dump(exclude={"version", "strategy_id", "portfolio_id"})
    subjects = {
        "strategy": _own(Strategy, owner, "strategy_id", asked.strategy_id),
        "portfolio": _own(Portfolio, owner, "portfolio_id", asked.portfolio_id),
    }
    rule = ThresholdRule(owner=owner, **values, **subjects)
    if stored is not None:
        rule.pk, rule.version = stored.pk, stored.version
        rule._state.adding = False
    rule.full_clean()
    return rule


def _own(model: Any, owner: Any, name: str, key: UUID | None) -> Any:
    if key is None:
        return None
    found = model.objects.filter(owner=owner, pk=key).first()
    if found is None:
        raise InvalidInput("There is no such row.", fields={name: "You have nothing of this id."})
    return found
