"""What makes the network fast on its device without changing what it learns, but for rounding."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dgss_core.networks.compilation import compiling_often
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.systems import SegmentationModel
from dgss_core.training.config import HardwareConfig

WORTH_COMPILING = 10_000
"""Steps that save more time than a compilation takes."""


class Form(NamedTuple):
    """How a model computes: what `hardware` asks for, or what is best where it leaves it open."""

    compile: bool | Literal['graphs']
    channels_last: bool

    @classmethod
    def of(cls, model: SegmentationModel, steps: int, hardware: HardwareConfig) -> Form:
        """The form of a model that is trained for `steps`."""
        convolves = hardware.gpu and has_batch_norms(model.encoder)
        compiles, last = hardware.compile, hardware.channels_last
        return cls(
            compile=convolves and steps >= WORTH_COMPILING if compiles is None else compiles,
            # FSDP takes contiguous parameters alone.
            channels_last=convolves and hardware.strategy != 'fsdp' if last is None else last,
        )


def fit_to_device(model: SegmentationModel, form: Form) -> None:
    """Set memory layout and compilation of a model, whose frozen parameters are frozen already."""
    if form.compile:
        compile_blocks(model.encoder, graphs=form.compile == 'graphs')
    if form.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def compile_blocks(encoder: Encoder, graphs: bool = False) -> None:
    """Compile each block of an encoder by itself, so that equal blocks share one compilation.

    The first stage stays uncompiled: a hook mixes styles there, and compiled code ignores hooks.
    With `graphs` a GPU replays each block as one CUDA graph, which needs a fixed size of images.
    Blocks without trained parameters are left out there: they may run without a backward pass,
    and a graph then overwrites what it gave before. Train inside `compiling`.
    """
    for block in (block for stage in encoder.trunk() for block in stage):
        trained = any(parameter.requires_grad for parameter in block.parameters())
        if block is not encoder.first_stage() and (trained or not graphs):
            block.compile(dynamic=False, mode='reduce-overhead' if graphs else None)


def compiling(hardware: HardwareConfig) -> AbstractContextManager[object]:
    """Inside the block every compiled block may have its own compilation."""
    if hardware.compile is False:
        return nullcontext()
    # Nobody asked for it, so a block that cannot be compiled here runs as it is.
    unasked = {'suppress_errors': True} if hardware.compile is None else {}
    return compiling_often(**unasked)


def has_batch_norms(encoder: Encoder) -> bool:
    """Whether an encoder is a convolutional network, bound by the launches of its many layers.

    What was added to its trunk does not count: the pyramid of a plain ViT has a batch norm too.
    """
    blocks: list[nn.Module] = [block for stage in encoder.trunk() for block in stage]
    return any(isinstance(module, _BatchNorm) for block in blocks for module in block.modules())
