"""Constraints that choices and validators only promise, said in the schema."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models
from django.db.models import Q


def choices_check(name: str, field: str, values: Iterable[str]) -> models.CheckConstraint:
    """Return the constraint that `field` is one of `values`."""
    return models.CheckConstraint(
        condition=Q(**{f"{field}__in": list(values)}), name=f"{name}_is_known"
    )


def bounded_check(name: str, field: str, low: float, high: float) -> models.CheckConstraint:
    """Return the constraint low <= `field` <= high, which also keeps NaN out.

    PostgreSQL sorts NaN above every number, so a lower bound alone lets it pass.
    """
    return models.CheckConstraint(
        condition=Q(**{f"{field}__gte": low, f"{field}__lte": high}), name=f"{name}_in_range"
    )
