"""The rates of the GPU for the roofline of `dgss bench model`, measured with torch."""

from __future__ import annotations

import torch

from dgss_core.runtime.roofline import Machine


def measure_gpu() -> Machine:
    """Measure the GPU that PyTorch uses; fp32 products without TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.ones(256 << 20, dtype=torch.uint8, device='cuda')
    target, a = torch.empty_like(source), torch.rand(4096, 4096, device='cuda')
    best = {'copy': 1e9, 'gemm': 1e9}
    for _ in range(10):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
        marks[0].record()
        target.copy_(source)
        marks[1].record()
        a @ a
        marks[2].record()
        torch.cuda.synchronize()
        for name, (start, end) in zip(best, (marks[:2], marks[1:]), strict=True):
            best[name] = min(best[name], start.elapsed_time(end) / 1e3)
    return Machine(2 * source.numel() / best['copy'], 2 * 4096**3 / best['gemm'])
