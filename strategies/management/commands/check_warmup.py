"""Check a strategy: warmup."""

from __future__ import annotations

from strategies.management.check_command import CheckCommand
from strategies.quant.checks import CheckName


class Command(CheckCommand):
    """Run the warmup check."""

    check_name = CheckName.WARMUP
    help = "Run the warmup check on stored bars; exits with 1 if it fails."
