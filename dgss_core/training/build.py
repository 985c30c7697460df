"""The model of a recipe, and its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch.distributed.checkpoint.state_dict import get_model_state_dict

from dgss_core.errors import DgssError, one_line
from dgss_core.networks.checkpoint import (
    UNFIT,
    About,
    load_checkpoint,
    refuse_import_errors,
    save_checkpoint,
)
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.networks.systems import SegmentationModel, build_system, systems
from dgss_core.training.compilation import Form, fit_to_device
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.distill import Distillation
from dgss_core.training.objective import Objective
from dgss_core.training.optimiser import fitting
from dgss_core.training.self_training import SelfTraining
from dgss_core.training.start import start_from
from dgss_core.training.state import WHOLE, SavedState
from dgss_core.training.styles import StyleBank

NO_FORM: Mapping[str, Any] = MappingProxyType({})


def build_model(
    config: TrainConfig, saved: SavedState | None = None, say: Callable[[str], None] = print
) -> SegmentationModel:
    """The model at the start, or with random weights the one whose state is `saved`.

    `say` takes a line about classes that a checkpoint does not know. Raises DgssError for options
    that the system or its encoder does not take.
    """
    if saved is not None:
        return _built(config, None, saved.form)
    if config.start is None:
        return _built(config, config.weights)
    known = load_checkpoint(config.start)
    model = _built(config, None, known.encoder.form)
    if line := start_from(known, model, str(config.start)):
        say(line)
    return model


def _built(
    config: TrainConfig, weights: str | Path | None, form: Mapping[str, Any] = NO_FORM
) -> SegmentationModel:
    try:
        return build_system(config.system, config.label_set, weights, **sizes(config, form))
    except UNFIT as error:
        refuse_import_errors(error)
        raise DgssError(
            f'{config.system} cannot be built with the options and encoder_options of the recipe '
            f'({one_line(error)}); correct them.'
        ) from error


def sizes(config: TrainConfig, form: Mapping[str, Any] = NO_FORM) -> dict[str, Any]:
    """The options of `build_system` other than weights and label set.

    `form`: options of the encoder that its weights decided, see `Encoder.form`.
    """
    return {'encoder_options': {**form, **config.encoder_options}, **config.options}


def build_objective(
    config: TrainConfig,
    model: SegmentationModel,
    merged: MergedLoss | None,
    hardware: HardwareConfig,
) -> Objective:
    """The objective of a recipe, set up for the hardware.

    Raises DgssError for a pattern in `config.frozen` that matches nothing, if nothing is left to
    train, and for auxiliary heads in a training whose losses are those of the scores alone.
    """
    _refuse_auxiliary(config, model, merged)
    freeze_named(model, config.frozen)
    bank = None
    if config.mixing is not None and config.mixing.bank is not None:
        encoder = systems()[config.system].encoder
        bank = StyleBank.load(config.mixing.bank, model.label_set, encoder)
    model.encoder.checkpointing = hardware.checkpointing
    fit_to_device(model, Form.of(model, config.steps, hardware))
    given: dict[str, Any] = {'merged': merged, 'mixing': config.mixing, 'bank': bank}
    objective: Objective
    if config.self_training is not None:
        objective = SelfTraining(model, config.self_training, config.label_stride, **given)
    elif config.distillation is not None:
        objective = Distillation(model, config.distillation, **given)
    else:
        objective = Objective(model, **given)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise DgssError(
            f'Nothing of {config.system} is left to train; take patterns out of frozen, or give '
            'distillation a weight on what the head answers.'
        )
    return objective


def _refuse_auxiliary(
    config: TrainConfig, model: SegmentationModel, merged: MergedLoss | None
) -> None:
    if not getattr(model.head, 'auxiliary', False):
        return
    reason = 'sources have coarser labels than the training' if merged is not None else None
    if config.distillation is not None:
        reason = 'it learns from a teacher'
    if reason is not None:
        raise DgssError(
            f'The auxiliary heads of {config.system} would learn nothing here, because {reason}; '
            'set options.auxiliary to false.'
        )


def freeze_named(model: SegmentationModel, patterns: Sequence[str]) -> None:
    """Freeze the parameters whose names match; norms that are frozen keep their statistics."""
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        for name in fitting(pattern, [*parameters]):
            parameters[name].requires_grad_(False)
    model.train(model.training)


def save_model(
    config: TrainConfig, model: SegmentationModel, paths: Sequence[Path], first: bool = True
) -> None:
    """Write checkpoints of `model` to `paths`.

    Every process must call it; only the `first` writes. Raises DgssError if writing fails.
    """
    weights: dict[str, Any] = get_model_state_dict(model, options=WHOLE)
    # A YAML file of one's own goes by its name.
    data = tuple(dict.fromkeys(Path(source.dataset).stem for source in config.sources))
    encoder = systems()[config.system].weights_licence
    licence = f'encoder {encoder}; trained on {", ".join(data)}, whose terms hold too'
    for path in paths if first else ():
        given = sizes(config, model.encoder.form)
        about = About(config.system, given, licence=licence, training_data=data)
        save_checkpoint(model, path, about, weights)
