"""Filters of the job list."""

from __future__ import annotations

from django import forms

from alphastrat.core.models import JobQuerySet, JobStatus


class JobFilter(forms.Form):
    """Choose jobs by state and title."""

    status = forms.ChoiceField(choices=[("", "Any"), *JobStatus.choices], required=False)
    q = forms.CharField(label="Title contains", required=False, max_length=100)

    def apply(self, jobs: JobQuerySet) -> JobQuerySet:
        """Return the jobs that match; a filter that makes no sense is left out."""
        if not self.is_valid():
            return jobs
        if self.cleaned_data["status"]:
            jobs = jobs.filter(status=self.cleaned_data["status"])
        if self.cleaned_data["q"]:
            jobs = jobs.filter(title__icontains=self.cleaned_data["q"])
        return jobs
