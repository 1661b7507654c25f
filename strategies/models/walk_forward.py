"""Walk-forward analyses: parameters chosen in sample, traded out of sample, fold after fold."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check
from strategies.models.performance import ratio_column
from strategies.models.search import Search, search_constraints


class Scheme(models.TextChoices):
    """Where an in-sample span starts."""

    ROLLING = "rolling", "Rolling: every fold looks back equally far"
    ANCHORED = "anchored", "Anchored: every fold looks back to the first bar"


class Selection(models.TextChoices):
    """Which set a fold takes out of sample."""

    PEAK = "peak", "The best Sharpe ratio in sample"
    PLATEAU = "plateau", "The best neighbourhood in sample"


class WalkForward(Search):
    """One walk-forward analysis and its stitched out-of-sample record."""

    DOCUMENTS: ClassVar[tuple[str, ...]] = (*Search.DOCUMENTS, "curves", "folds")

    scheme = models.CharField(max_length=8, choices=Scheme, default=Scheme.ROLLING)
    selection = models.CharField(max_length=7, choices=Selection, default=Selection.PEAK)
    n_folds = models.PositiveIntegerField()
    train_share = models.FloatField()
    purge = models.PositiveIntegerField()
    embargo = models.PositiveIntegerField()

    efficiency = ratio_column()
    sharpe_efficiency = ratio_column()
    sharpe_ratio = ratio_column()
    total_return = ratio_column()
    max_drawdown = ratio_column()
    n_trades = models.PositiveIntegerField(null=True, blank=True)
    folds = models.JSONField(default=list)
    curves = models.BinaryField(null=True, blank=True)

    class Meta(Search.Meta):
        # The walk-forward page of one user, newest first.
        indexes = [
            models.Index(fields=["owner", "-requested_at"], name="strategies_wf_owner_newest")
        ]
        constraints = [
            *search_constraints("walkforward"),
            choices_check("strategies_walkforward_scheme", "scheme", Scheme.values),
            choices_check("strategies_walkforward_selection", "selection", Selection.values),
            models.CheckConstraint(
                condition=Q(n_folds__gte=1, train_share__gt=0, train_share__lt=1),
                name="strategies_walkforward_has_folds",
            ),
            models.CheckConstraint(
                condition=~Q(status="succeeded") | Q(curves__isnull=False),
                name="strategies_walkforward_succeeded_has_result",
            ),
        ]

    def get_absolute_url(self) -> str:
        return reverse("strategies:walk-forward-detail", args=[self.pk])
