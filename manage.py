#!/usr/bin/env python
"""The command line of AlphaStrat."""

from __future__ import annotations

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings")
    if sys.argv[1:2] == ["up"] and "--prepare" not in sys.argv:
        # The supervisor never needs Django: without it a start takes half the time and memory.
        from alphastrat.servers.up import main as up

        return up(sys.argv[2:])
    return run_command(sys.argv)


def run_command(arguments: list[str]) -> int:
    """Run one of Django's or our commands; answer expected failures with one sentence."""
    from alphastrat import env
    from alphastrat.startup import importing

    with importing():
        import django
        from django.core.management import execute_from_command_line
        from django.db import OperationalError

    try:
        with importing():
            django.setup()
        execute_from_command_line(arguments)
    except env.ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OperationalError:
        if env.are_servers_known(env.var_dir()):
            raise
        sys.stderr.write(f"{env.NOT_RUNNING}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
