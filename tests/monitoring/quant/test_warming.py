"""What the processes share on disk is compiled before they start."""

from __future__ import annotations

import numpy as np

from monitoring.quant import detectors, evidence, paths, sequential, status, trips, warming
from strategies.quant import kernel, stepping, sweep_kernel

# Called from Python; what these call comes with them.
KERNELS = (
    kernel.run,
    kernel.at_open,
    kernel.within_bar,
    stepping.close_bar,
    stepping.sides_wanted,
    sweep_kernel.run_all,
    detectors._standardise,
    detectors._variance_cusum,
    evidence._accumulate,
    evidence._count,
    evidence._first,
    paths._paths,
    sequential._running,
    status._advance,
    trips._trips,
)


def test_no_kernel_of_the_first_minute_is_left_to_the_process_that_needs_it():
    warming.warm()
    assert [one.py_func.__name__ for one in KERNELS if not one.signatures] == []


def test_observations_of_a_matrix_need_no_kernel_for_another_layout():
    found = evidence.Observations.of_matrix(np.ones((2, 3)))
    assert found.row.flags.c_contiguous
    assert found.column.flags.c_contiguous
