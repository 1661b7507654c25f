"""The command line of `manage.py up`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from alphastrat import env

PROGRAMS = ("web", "worker", "monitor", "feed")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default=env.env_str("HOST") or "127.0.0.1",
        help="address to listen on (HOST; 127.0.0.1: this machine only)",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=env.env_int("PORT", 8000, minimum=1, maximum=65535),
        help="port of the pages, the API and the sockets (PORT; 8000)",
    )
    parser.add_argument(
        "--only",
        type=program_names,
        default=PROGRAMS,
        metavar="NAMES",
        help=f"run only these of {', '.join(PROGRAMS)}, separated by commas",
    )
    parser.add_argument(
        "--no-demo", action="store_true", help="neither load the sample market nor the demo account"
    )


def port_number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def program_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"choose from {', '.join(PROGRAMS)}, not {', '.join(unknown) or 'nothing'}"
        )
    return names


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="manage.py up",
        description="Start the servers and processes of AlphaStrat; Ctrl-C stops them all.",
    )
    add_options(parser)
    return parser.parse_args(arguments)
