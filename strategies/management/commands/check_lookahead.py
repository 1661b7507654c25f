"""Check a strategy: lookahead."""

from __future__ import annotations

from strategies.management.check_command import CheckCommand


class Command(CheckCommand):
    """Run the lookahead check."""

    check_name = "lookahead"
    help = "Run the lookahead check on stored bars; exits with 1 if it fails."
