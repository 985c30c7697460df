"""Chains in PyTorch, on the device that its backend uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dgss_core.errors import DgssError
from dgss_core.export.torch_backend import DTYPES
from dgss_core.networks.device import best_device
from dgss_core.runtime.backend import first_line
from dgss_core.runtime.roofline.chains import COPY, Chain, by_difference


class TorchClock:
    """Runs chains as PyTorch runs a network: operator by operator, on the GPU if there is one."""

    def __init__(self) -> None:
        self._device = best_device()
        place = torch.cuda.get_device_name() if self._device == 'cuda' else 'CPU'
        self.name = f'{place} in PyTorch'

    def seconds_per_node(self, chain: Chain) -> float:
        if chain.precision == 'tf32' and self._device == 'cpu':
            raise DgssError(f'{self.name} has no TF32; measure fp32.')
        try:
            with torch.inference_mode(), _tf32(chain.precision == 'tf32'):
                return by_difference(lambda length: self._call(chain, length), chain.length)
        except RuntimeError as error:  # NotImplementedError is one, too.
            raise DgssError(
                f'{self.name} cannot run products in {chain.precision} ({first_line(error)}); '
                'measure another precision.'
            ) from error

    def _call(self, chain: Chain, length: int) -> Callable[[], Any]:
        step = self._copy(chain) if chain.kind == COPY else self._product(chain)

        def call() -> None:
            for _ in range(length):
                step()
            if self._device == 'cuda':
                torch.cuda.synchronize()

        return call

    def _copy(self, chain: Chain) -> Callable[[], Tensor]:
        source = torch.ones(chain.side, device=self._device)
        target = torch.empty_like(source)
        return lambda: target.copy_(source)

    def _product(self, chain: Chain) -> Callable[[], Tensor]:
        a = torch.rand(chain.side, chain.side, device=self._device) * 2 - 1
        if chain.precision == 'int8':
            whole = (127 * a).to(torch.int8)
            return lambda: torch._int_mm(whole, whole)
        narrow = a.to(DTYPES.get(chain.precision, torch.float32))
        product = torch.empty_like(narrow)
        return lambda: torch.mm(narrow, narrow, out=product)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('high' if allowed else 'highest')
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
