"""The independent check of every stored run."""

from __future__ import annotations

from typing import Any


def check_agreement(run_id: str) -> dict[str, Any] | None:
    return None
