"""Parameter sweeps: many sets on the same bars, stored chunk by chunk."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check
from strategies.models.performance import ratio_column
from strategies.models.search import Search, search_constraints


class Method(models.TextChoices):
    """How a sweep goes over its grid."""

    GRID = "grid", "Grid: every combination"
    BAYESIAN = "bayesian", "Bayesian: where the results so far point"


class Objective(models.TextChoices):
    """What makes one set better than another."""

    SHARPE = "sharpe", "Sharpe ratio"
    TOTAL_RETURN = "total_return", "Total return"


class Sweep(Search):
    """One parameter sweep, its results as arrays and what they are worth."""

    DOCUMENTS: ClassVar[tuple[str, ...]] = (*Search.DOCUMENTS, "results")

    method = models.CharField(max_length=8, choices=Method, default=Method.GRID)
    objective = models.CharField(max_length=12, choices=Objective, default=Objective.SHARPE)
    # How many sets a Bayesian search may try.
    budget = models.PositiveIntegerField(null=True, blank=True)
    chunk_size = models.PositiveIntegerField()

    best_sharpe = ratio_column()
    plateau_sharpe = ratio_column()
    stability = ratio_column()
    overfitting_probability = ratio_column()
    results = models.BinaryField(null=True, blank=True)

    class Meta(Search.Meta):
        # The sweeps page of one user, newest first.
        indexes = [
            models.Index(fields=["owner", "-requested_at"], name="strategies_sweep_owner_newest")
        ]
        constraints = [
            *search_constraints("sweep"),
            choices_check("strategies_sweep_method", "method", Method.values),
            choices_check("strategies_sweep_objective", "objective", Objective.values),
            models.CheckConstraint(
                condition=Q(method="bayesian") ^ Q(budget__isnull=True),
                name="strategies_sweep_bayesian_has_budget",
            ),
            models.CheckConstraint(
                condition=Q(chunk_size__gte=1), name="strategies_sweep_has_chunks"
            ),
            models.CheckConstraint(
                condition=~Q(status="succeeded") | Q(results__isnull=False),
                name="strategies_sweep_succeeded_has_result",
            ),
        ]

    def get_absolute_url(self) -> str:
        return reverse("strategies:sweep-detail", args=[self.pk])


class SweepChunk(models.Model):
    """The results of one chunk of a sweep that is under way; where it resumes after a crash."""

    sweep = models.ForeignKey(Sweep, models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    n_sets = models.PositiveIntegerField()
    results = models.BinaryField()

    class Meta:
        constraints = [
            # A chunk that is computed twice is stored once.
            models.UniqueConstraint(
                fields=["sweep", "number"], name="strategies_sweepchunk_unique_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.sweep_id} {self.number}"
