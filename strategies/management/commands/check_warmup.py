"""Check a strategy: warmup."""

from __future__ import annotations

from strategies.management.check_command import CheckCommand


class Command(CheckCommand):
    """Run the warmup check."""

    check_name = "warmup"
    help = "Run the warmup check on stored bars; exits with 1 if it fails."
