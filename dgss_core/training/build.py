"""The model of a recipe, and its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.importers.keys import load_exactly
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.systems import SegmentationModel, build_system, systems
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.distill import Distillation
from dgss_core.training.objective import Objective
from dgss_core.training.self_training import SelfTraining
from dgss_core.training.state import WHOLE
from dgss_core.training.styles import StyleBank


def build_model(config: TrainConfig, with_weights: bool = True) -> SegmentationModel:
    """The model at the start; random without `with_weights`, when a saved state will be loaded."""
    start = config.start if with_weights else None
    weights = config.weights if with_weights and start is None else None
    model = build_system(config.system, config.label_set, weights, **sizes(config))
    if start is not None:
        known = load_checkpoint(start)
        before, now = known.label_set.names, model.label_set.names
        if before != now and len(before) == len(now):
            raise DgssError(
                f'{start} knows {", ".join(before)} in this order, and the label set '
                f'{model.label_set.name!r} has {", ".join(now)}; give a label set with the '
                'classes of the checkpoint in its order.'
            )
        load_exactly(model, known.state_dict(), str(start))
    return model


def sizes(config: TrainConfig) -> dict[str, Any]:
    """The options of `build_system` other than weights and label set."""
    return {'encoder_options': config.encoder_options, **config.options}


def build_objective(
    config: TrainConfig,
    model: SegmentationModel,
    merged: MergedLoss | None,
    hardware: HardwareConfig,
) -> Objective:
    """The objective of a recipe, set up for the hardware."""
    bank = None
    if config.mixing is not None and config.mixing.bank is not None:
        encoder = systems()[config.system].encoder
        bank = StyleBank.load(config.mixing.bank, model.label_set, encoder)
    model.encoder.checkpointing = hardware.checkpointing
    if hardware.compile:
        compile_blocks(model.encoder)
    if hardware.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    given: dict[str, Any] = {'merged': merged, 'mixing': config.mixing, 'bank': bank}
    if config.self_training is not None:
        return SelfTraining(model, config.self_training, config.label_stride, **given)
    if config.distillation is not None:
        return Distillation(model, config.distillation, **given)
    return Objective(model, **given)


def compile_blocks(encoder: Encoder) -> None:
    """Compile each block of an encoder by itself, so that equal blocks share one compilation.

    The first stage stays uncompiled: a hook mixes styles there, and compiled code ignores hooks.
    """
    for block in (block for stage in encoder.trunk() for block in stage):
        if block is not encoder.first_stage():
            block.compile()


def save_model(
    config: TrainConfig, model: SegmentationModel, paths: Sequence[Path], first: bool = True
) -> None:
    """Write checkpoints of `model` to `paths`.

    Every process must call it; only the `first` writes. Raises DgssError if writing fails.
    """
    weights: dict[str, Any] = get_model_state_dict(model, options=WHOLE)
    data = ', '.join(source.dataset for source in config.sources)
    encoder = systems()[config.system].weights_licence
    licence = f'encoder {encoder}; trained on {data}, whose terms hold too'
    for path in paths if first else ():
        save_checkpoint(model, path, About(config.system, sizes(config), licence=licence), weights)
