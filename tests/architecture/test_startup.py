"""What every command imports is what every command needs.

SciPy imports a subpackage where it is first used after `import scipy`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

AFTER_SETUP = "import django, sys; django.setup(); print(*sys.modules)"
# They take between a quarter of a second and two to import.
HEAVY = ("matplotlib", "optuna", "plotly", "scipy.optimize", "scipy.stats", "sklearn", "vectorbt")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "alphastrat.settings_test"}
    arguments = [sys.executable, "-W", "ignore", "-c", AFTER_SETUP]
    run = subprocess.run(arguments, env=variables, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("name", HEAVY)
def test_a_start_leaves_heavy_libraries_to_those_who_use_them(imported, name):
    assert name not in imported
