"""What makes the network fast on its device without changing what it learns, but for rounding."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dgss_core.networks.encoders import Encoder
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.config import HardwareConfig

WORTH_COMPILING = 10_000
"""Steps that save more time than a compilation takes."""


def fit_to_device(model: SegmentationModel, steps: int, hardware: HardwareConfig) -> None:
    """Set memory layout and compilation of a model that is trained for `steps`."""
    convolves = hardware.gpu and has_batch_norms(model.encoder)
    if hardware.compile:
        compile_blocks(model.encoder, graphs=hardware.compile == 'graphs')
    elif hardware.compile is None and convolves and steps >= WORTH_COMPILING:
        # Nobody asked for it, so a block that cannot be compiled here runs as it is.
        torch._dynamo.config.suppress_errors = True
        compile_blocks(model.encoder)
    if convolves if hardware.channels_last is None else hardware.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def compile_blocks(encoder: Encoder, graphs: bool = False) -> None:
    """Compile each block of an encoder by itself, so that equal blocks share one compilation.

    The first stage stays uncompiled: a hook mixes styles there, and compiled code ignores hooks.
    With `graphs` a GPU replays each block as one CUDA graph, which needs a fixed size of images.
    """
    for block in (block for stage in encoder.trunk() for block in stage):
        if block is not encoder.first_stage():
            block.compile(mode='reduce-overhead' if graphs else None)


def has_batch_norms(encoder: Encoder) -> bool:
    """Whether an encoder is a convolutional network, bound by the launches of its many layers."""
    return any(isinstance(module, _BatchNorm) for module in encoder.modules())


def as_written(model: nn.Module) -> AbstractContextManager[object]:
    """Inside the block compiled parts of a model run as they are written.

    Frames that are scored have many sizes, and compiling for each takes longer than the score.
    """
    if any(module._compiled_call_impl is not None for module in model.modules()):
        return torch.compiler.set_stance('force_eager')
    return nullcontext()
