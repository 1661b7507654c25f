"""Exit 0 when a service is well: it answers an address, or its heartbeat is fresh."""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request

import psycopg

FRESH_SECONDS = 60
QUERY = """
SELECT 1 FROM core_heartbeat
WHERE process = %s AND host = %s AND beat_at > now() - make_interval(secs => %s)
"""


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def beats(process: str) -> bool:
    try:
        with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5) as connection:
            arguments = (process, socket.gethostname(), FRESH_SECONDS)
            return connection.execute(QUERY, arguments).fetchone() is not None
    except psycopg.Error:
        return False


if __name__ == "__main__":
    subject = sys.argv[1]
    sys.exit(0 if (answers if subject.startswith("http") else beats)(subject) else 1)
