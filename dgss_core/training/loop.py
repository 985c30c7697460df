"""The training loop: every recipe, from one process to many machines.

setup       recipe -> processes, model, optimiser, data
run_steps   each step: images -> losses -> gradients -> weights; at intervals score and save
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dgss_core.datasets.protocols import load_protocol
from dgss_core.errors import DgssError
from dgss_core.files import refuse_unwritable
from dgss_core.training.augmentation import Draws
from dgss_core.training.average import Average
from dgss_core.training.build import build_model, build_objective, save_model
from dgss_core.training.chance import seed_of
from dgss_core.training.checks import check_sources, check_splits, explained, told_of_warmup
from dgss_core.training.compilation import Form, compiling
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.data import (
    Batch,
    InMemory,
    batches,
    build_frames,
    build_loader,
    build_sampler,
    kept_in_memory,
    label_tables,
)
from dgss_core.training.evaluation import ModelSegmenter, ScoredSplit, protocol_inference, score
from dgss_core.training.fabric import Fabric, FabricModule
from dgss_core.training.loss_log import LossLog
from dgss_core.training.meter import Meter
from dgss_core.training.objective import Objective
from dgss_core.training.optimiser import build_optimiser, clip_gradients, set_rates
from dgss_core.training.parallel import build_fabric
from dgss_core.training.passes import Pass, count_step
from dgss_core.training.progress import LOG_EVERY, Progress
from dgss_core.training.recipe import choices
from dgss_core.training.record import Record
from dgss_core.training.self_training import SelfTraining
from dgss_core.training.state import SavedState, TrainingState, described
from dgss_core.training.stopping import Stopping


@dataclass
class Training:
    """Everything `run_steps` needs.

    `objective` is `state.model` wrapped by Fabric for its processes, `segmenter` applies the model
    inside it. `parts` is the number of passes per step of each process.
    """

    config: TrainConfig
    hardware: HardwareConfig
    record: Record
    segmenter: ModelSegmenter
    objective: FabricModule
    state: TrainingState
    loader: DataLoader[Batch]
    parts: int
    splits: list[ScoredSplit]


def train(
    config: TrainConfig,
    data: Path,
    output: Path,
    hardware: HardwareConfig,
    resume: bool = False,
) -> None:
    """Train a recipe on the datasets below `data` and write the results to `output`.

    With `resume` it continues from the last state saved there, bit-identical on a CPU. Raises
    DgssError if something is missing or does not fit, or if the loss is no longer finite.
    """
    fabric = build_fabric(hardware)
    record = Record(output, fabric.is_global_zero)
    if fabric.is_global_zero:
        refuse_unwritable(output)
    with explained(config, hardware, fabric.world_size), compiling(hardware):
        run_steps(fabric, setup(fabric, config, data, record, hardware, resume))


def setup(
    fabric: Fabric,
    config: TrainConfig,
    data: Path,
    record: Record,
    hardware: HardwareConfig,
    resume: bool = False,
) -> Training:
    """Build what a training needs, and with `resume` load its last saved state."""
    parts = hardware.accumulation(config.batch, fabric.world_size)
    sources = [source.open(data) for source in config.sources]
    splits = config.evaluation.open(data)
    if fabric.is_global_zero:
        check_sources(config, sources)
        check_splits(splits)
    saved = SavedState.read(record.state) if resume and record.state.is_file() else None
    if saved is not None and saved.step > config.steps:
        raise DgssError(
            f'{record.state} has {saved.step} steps already; give steps at least that.'
        )
    for line in (record.begin(config, hardware, resume), told_of_warmup(config)):
        if line:
            fabric.print(line)
    fabric.barrier()

    torch.manual_seed(config.seed)
    with fabric.rank_zero_first(local=True):
        model = build_model(config, saved, fabric.print)
    tables, merged = label_tables(model, sources)
    inner = build_objective(config, model, merged, hardware)
    if fabric.world_size > 1 and fabric.device.type == 'cuda':
        nn.SyncBatchNorm.convert_sync_batchnorm(inner)
    objective = fabric.setup_module(inner)
    optimiser = build_optimiser(config.optimiser, inner.model, inner.own_parameters())
    average = Average(inner, config.average, warms_up=True) if config.average else None
    teacher = inner.begin() if isinstance(inner, SelfTraining) else None
    classes = described(model.label_set, sources, {s.title: s.dataset for s in splits})
    form = model.encoder.form
    state = TrainingState(inner, optimiser, average, teacher, classes=classes, form=form)
    if saved is not None:
        state.load(record.state)
    record.rewind(state.step)
    if state.step == config.steps:
        fabric.print(f'All {state.step} steps are done.')
    else:
        # Last, because it takes long: what can be refused has been.
        sources = kept_in_memory(sources, config.steps * config.batch, hardware.in_memory, fabric)
    in_memory = any(isinstance(source, InMemory) for source in sources)
    record.runs(
        choices(hardware, Form.of(model, config.steps, hardware), in_memory, fabric.device)
    )

    with fabric.rank_zero_first(local=True):
        sampler = build_sampler(config.sources, sources, config.seed)
    draws = Draws(sampler, state.step * config.batch, fabric.global_rank, fabric.world_size)
    at_once = config.batch // (parts * fabric.world_size)
    frames = build_frames(config, sources, tables)
    loader = build_loader(frames, draws, hardware, at_once, config.label_stride)
    protocol = load_protocol(config.evaluation.protocol)
    segmenter = ModelSegmenter(model, protocol_inference(protocol, config.evaluation.look))
    return Training(config, hardware, record, segmenter, objective, state, loader, parts, splits)


def run_steps(fabric: Fabric, training: Training) -> None:
    """Train to the last step of the recipe; log, score and save on the way."""
    config, state, record = training.config, training.state, training.record
    images, meter, losses = batches(training.loader), Meter(fabric.device), LossLog()
    training.objective.train()
    shown = Progress(state.step, config.steps, fabric.is_global_zero)
    with Stopping(fabric) as stopping, shown as progress:
        titles = {split.title for split in training.splits}
        if is_scored(config, state.step) and not fabric.broadcast(
            bool(titles) and titles <= set(record.scored_on(state.step))
        ):
            # The training ended between its saved state and the scores of that step, or it is to
            # be scored on other splits.
            record.rewind(state.step - 1, titles)
            with progress.paused():
                evaluate_and_save(fabric, training)
        elif state.step:
            restore(fabric, training)
        while state.step < config.steps:
            set_rates(state.optimiser, config.optimiser, state.step, config.steps)
            training.segmenter.model.head.anneal(state.step / config.steps)
            losses.add(state.step + 1, *take_step(fabric, training, images, meter))
            state.step += 1
            meter.images += config.batch
            for moving in state.averages().values():
                moving.update(state.model, state.step)
            scores = is_scored(config, state.step)
            saves = scores or state.step % config.save_every == 0
            ended = stopping.after_step(at_once=saves)
            saves = saves or bool(ended)
            if state.step % LOG_EVERY == 0 or saves:
                values = losses.check(fabric, record.state)
                reading = meter.read()
                record.log(values | reading.values() | state.rates(), state.step)
                progress.show(state.step, values, reading)
            if saves:
                # Before the scores: an evaluation that fails loses no step.
                state.save(record.state, fabric.is_global_zero)
            if ended:
                record.close()
                stopping.end(ended, state.step)
            if scores:
                with progress.paused(), stopping.saved(state.step):
                    evaluate_and_save(fabric, training)
            if saves:
                meter.restart()
    record.close()


def is_scored(config: TrainConfig, step: int) -> bool:
    """Whether the splits are scored, and the model is saved, after `step`."""
    return step > 0 and (step == config.steps or step % config.evaluation.every == 0)


def take_step(
    fabric: Fabric, training: Training, images: Iterator[Batch], meter: Meter
) -> tuple[dict[str, Tensor], Tensor]:
    """One optimiser step. Returns its losses in this process and the norm of the gradients."""
    config, state, objective = training.config, training.state, training.objective
    passes = [prepare_pass(fabric, training, images, meter, i) for i in range(training.parts)]
    counts = count_step(fabric, passes)
    losses: dict[str, Tensor] = {}
    for index, (x, labels, inside, seed) in enumerate(passes):
        torch.manual_seed(seed)
        with fabric.no_backward_sync(objective, enabled=index < training.parts - 1):
            found = objective(x, labels, seed, inside=inside, counts=counts)
            fabric.backward(sum(found.values()) / training.parts)
        for name, loss in found.items():
            losses[name] = losses.get(name, 0) + loss.detach() / training.parts
    norm = clip_gradients(state.optimiser, config.optimiser.clip)
    state.optimiser.step()
    state.optimiser.zero_grad()
    return losses, norm


def prepare_pass(
    fabric: Fabric, training: Training, images: Iterator[Batch], meter: Meter, part: int
) -> Pass:
    """Read a batch and prepare it for the losses, on the device."""
    config, state, objective = training.config, training.state, training.state.model
    assert isinstance(objective, Objective)
    with meter.waiting():
        batch = next(images)
    x, labels, labelled, inside, _ = batch.on(fabric)
    seed = seed_of(config.seed, state.step, part, fabric.global_rank)
    torch.manual_seed(seed)
    with fabric.autocast():
        x, labels = objective.prepare(x, labels.long(), seed, labelled, inside)
    return Pass(x, labels, inside, seed)


def evaluate_and_save(fabric: Fabric, training: Training) -> None:
    """As `score_and_save`; a DgssError also says that nothing was lost."""
    try:
        score_and_save(fabric, training)
    except DgssError as error:
        raise DgssError(
            f'{str(error).rstrip(".")}. All {training.state.step} steps are in '
            f'{training.record.state}; correct this and go on with --resume.'
        ) from error


def score_and_save(fabric: Fabric, training: Training) -> None:
    """Score every split, log some pictures, and save the model, also as the best one if it is."""
    config, state, record = training.config, training.state, training.record
    segmenter = training.segmenter
    shared = training.hardware.strategy != 'fsdp'
    paths = [record.model]
    with state.as_saved(), fabric.autocast():
        for index, split in enumerate(training.splits):
            matrix = score(fabric, segmenter, split, shared)
            if index == 0:
                if matrix.miou > record.best(split.title):
                    paths.append(record.best_model)
                record.pictures(segmenter, split, config.evaluation.pictures, state.step)
            record.score(split.title, matrix, state.step, split.dataset.label_set.names)
            score_text = f'mIoU {matrix.miou:.2%}'
            if math.isnan(matrix.miou):
                score_text = 'no score, because no frame that was scored has a labelled pixel'
            fabric.print(f'step {state.step}: {split.title}: {score_text}')
        save_model(config, segmenter.model, paths, fabric.is_global_zero)
    training.objective.train()


def restore(fabric: Fabric, training: Training) -> None:
    """Write the models again that are gone and are those of the state; tell of a lost best one."""
    state, record = training.state, training.record
    titles = [split.title for split in training.splits[:1]]
    lost = fabric.broadcast([record.lost(title) for title in titles] if record.first else [])
    for path, step in [entry for found in lost for entry in found.items()]:
        if step == state.step:
            with state.as_saved():
                save_model(training.config, training.segmenter.model, [path], record.first)
            fabric.print(f'{path} was gone or damaged, and is written again from the state.')
        elif path == record.best_model:
            fabric.print(f'{path}, of step {step}, is gone; only a new training can make it.')
    training.objective.train()
