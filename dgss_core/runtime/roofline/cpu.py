"""The rates of the CPU, by numpy."""

from __future__ import annotations

import json
import os

from dgss_core.errors import DgssError
from dgss_core.runtime.roofline.child import last_line, run_module
from dgss_core.runtime.roofline.machine import Machine

RATES = 'dgss_core.runtime.roofline.cpu_rates'
"""Nobody imports it, so that it is loaded once, as a program."""


def measure_cpu(threads: int = 0) -> Machine:
    """Measure this CPU in fp32 with `threads` threads, 0 for all cores; takes about a second.

    Raises DgssError if that fails, as without memory.
    """
    count = str(threads or os.cpu_count() or 1)
    # In a separate process, because BLAS reads its number of threads only when it is loaded.
    limits = {'OMP_NUM_THREADS': count, 'OPENBLAS_NUM_THREADS': count, 'MKL_NUM_THREADS': count}
    result = run_module(RATES, count, environment=limits)
    if result.returncode != 0:
        raise DgssError(f'The rates of the CPU cannot be measured: {last_line(result)}.')
    copy, gemm = json.loads(result.stdout)
    return Machine('the CPU', copy, {'fp32': gemm})
