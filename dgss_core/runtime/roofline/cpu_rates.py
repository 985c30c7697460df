"""Measures the rates of the CPU in its own process, with the threads that BLAS was loaded with."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def rates(threads: int) -> list[float]:
    """Bytes read and written, and operations of a product in fp32, in a second."""
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
    print(json.dumps(rates(int(sys.argv[1]))))
