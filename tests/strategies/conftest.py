from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_broker(sent):
    """Keep jobs from a broker in every test of this folder."""
