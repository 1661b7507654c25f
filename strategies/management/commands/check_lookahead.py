"""Check a strategy: lookahead."""

from __future__ import annotations

from strategies.management.check_command import CheckCommand
from strategies.quant.checks import CheckName


class Command(CheckCommand):
    """Run the lookahead check."""

    check_name = CheckName.LOOKAHEAD
    help = "Run the lookahead check on stored bars; exits with 1 if it fails."
