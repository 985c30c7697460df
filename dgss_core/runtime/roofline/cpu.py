"""The rates of the CPU, by numpy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dgss_core.runtime.roofline.machine import Machine


def measure_cpu(threads: int = 0) -> Machine:
    """Measure this CPU in fp32 with `threads` threads, 0 for all cores; takes about a second."""
    count = str(threads or os.cpu_count() or 1)
    # In a separate process, because BLAS reads its number of threads only when it is loaded.
    limits = {'OMP_NUM_THREADS': count, 'OPENBLAS_NUM_THREADS': count, 'MKL_NUM_THREADS': count}
    command = [sys.executable, '-m', __name__, count]
    result = subprocess.run(
        command, env=os.environ | limits, capture_output=True, text=True, check=True
    )
    copy, gemm = json.loads(result.stdout)
    return Machine('the CPU', copy, {'fp32': gemm})


def _measure_here(threads: int) -> list[float]:
    size, best_copy, best_gemm = 16 << 20, float('inf'), float('inf')
    source = [np.ones(size, np.uint8) for _ in range(threads)]
    target = [np.empty_like(array) for array in source]
    a = np.random.default_rng(0).random((1024, 1024), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(np.copyto, target, source))
            copied = time.perf_counter()
            a @ a
            best_copy = min(best_copy, copied - start)
            best_gemm = min(best_gemm, time.perf_counter() - copied)
    return [2 * size * threads / best_copy, 2 * 1024**3 / best_gemm]


if __name__ == '__main__':
    print(json.dumps(_measure_here(int(sys.argv[1]))))
