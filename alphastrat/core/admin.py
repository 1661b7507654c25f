"""What the Django admin must not offer."""

from __future__ import annotations

from django.contrib import admin

# Importing registers django-q's pages, so that they can be taken away: a scheduled task there
# names any function to call, which would let an administrator of the pages run any code.
from django_q import admin as django_q_admin  # noqa: F401
from django_q.models import Failure, Schedule, Success

admin.site.unregister([Schedule, Success, Failure])
