"""Settings of PyTorch's compiler, for training and for export."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

MANY = 1 << 20
"""Compilations of one function in a process; PyTorch runs it uncompiled after eight."""


def compiling_often(**others: bool) -> AbstractContextManager[object]:
    """Inside the block PyTorch compiles a network as often as it needs; `others` are set too."""
    config = torch._dynamo.config
    # Until PyTorch 2.6 the limits were those of a cache.
    word = 'recompile' if hasattr(config, 'recompile_limit') else 'cache_size'
    limits = {f'{word}_limit': MANY, f'accumulated_{word}_limit': MANY}
    return config.patch({**limits, **others})


def as_written(model: nn.Module) -> AbstractContextManager[object]:
    """Inside the block compiled parts of a model run as they are written.

    Frames that are scored have many sizes, and compiling for each takes longer than the score.
    """
    if any(module._compiled_call_impl is not None for module in model.modules()):
        return torch.compiler.set_stance('force_eager')
    return nullcontext()
