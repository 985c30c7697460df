"""`dgss bench train`: the cost of a recipe on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from rich.table import Table

from dgss_core.commands.limits import at_least
from dgss_core.commands.tables import print_table
from dgss_core.networks.encoders.memory import graph_bytes
from dgss_core.training.compilation import compiling
from dgss_core.training.config import DEFAULT_HARDWARE, HardwareConfig, TrainConfig
from dgss_core.training.data import PREFETCHED, Batch, batches
from dgss_core.training.fabric import Fabric
from dgss_core.training.loop import Training, setup, take_step
from dgss_core.training.meter import Meter, Reading
from dgss_core.training.parallel import build_fabric
from dgss_core.training.record import Record

MEBI = 2**20


def bench_train(
    *,
    config: TrainConfig,
    data: Path = Path('data'),
    steps: int = 20,
    warmup: int = 5,
    hardware: HardwareConfig = DEFAULT_HARDWARE,
) -> None:
    """Measure steps of a recipe: images per second with and without its data, waiting, memory.

    Nothing is saved. The encoder's weights are random, which costs the same.

    Args:
        config: a recipe of config/train, or your own
        data: folder that contains the datasets, each under its name
        steps: optimiser steps to measure, first with data, then on one batch again and again
        warmup: steps before the measured ones
        hardware: how the recipe runs on this machine
    """
    at_least(1, steps=steps)
    at_least(0, warmup=warmup)
    fabric = build_fabric(hardware)
    evaluation = replace(config.evaluation, splits=[])
    config = replace(config, weights=None, start=None, evaluation=evaluation)
    with TemporaryDirectory() as folder, compiling(hardware):
        record = Record(Path(folder), fabric.is_global_zero)
        training = setup(fabric, config, data, record, hardware)
        training.objective.train()
        measured = measure(fabric, training, warmup, steps)
    kept = backward_bytes(fabric, training)
    if fabric.is_global_zero:
        show(training, measured, kept, fabric)


class Measured(NamedTuple):
    """Readings of steps with data and without, mean loss with data, images/s of the loader."""

    reading: Reading
    without_data: Reading
    loss: float
    loader: float


def measure(fabric: Fabric, training: Training, warmup: int, steps: int) -> Measured:
    """Run `warmup` steps, then measure the loader, `steps` with data and `steps` without."""
    images = batches(training.loader)
    run(fabric, training, images, warmup)
    loader = loader_rate(training, images)
    reading, loss = run(fabric, training, images, steps)
    held = next(images).on(fabric)
    without_data, _ = run(fabric, training, repeat(held), steps)
    return Measured(reading, without_data, loss, loader * fabric.world_size)


def run(
    fabric: Fabric, training: Training, images: Iterator[Batch], steps: int
) -> tuple[Reading, float]:
    """A reading of `steps` steps, and their mean loss."""
    meter, losses = Meter(fabric.device), []
    for _ in range(steps):
        found, _ = take_step(fabric, training, images, meter)
        losses.append(torch.stack([*found.values()]).sum())
        meter.images += training.config.batch
    return meter.read(), torch.stack(losses).mean().item() if losses else math.nan


def loader_rate(training: Training, images: Iterator[Batch]) -> float:
    """Images per second of the loader of this process; no batch is left waiting after it."""
    workers = training.hardware.workers
    ahead = PREFETCHED * workers
    for _ in range(ahead):
        next(images)
    start, count = time.perf_counter(), 0
    for _ in range(max(ahead, 4)):
        count += len(next(images).images)
    return count / (time.perf_counter() - start)


def backward_bytes(fabric: Fabric, training: Training) -> tuple[int, int]:
    """Bytes that one pass keeps for the backward pass: with the recipe's frozen encoder, and with
    the whole encoder trained."""
    images, labels, labelled, inside, _ = next(batches(training.loader)).on(fabric)
    labels = labels.long()

    def forward() -> object:
        return training.objective(images, labels, 0, labelled, inside)

    kept = graph_bytes(forward)
    training.segmenter.model.encoder.requires_grad_(True)
    return kept, graph_bytes(forward)


def show(training: Training, measured: Measured, kept: tuple[int, int], fabric: Fabric) -> None:
    config, reading = training.config, measured.reading
    without = measured.without_data.images_per_second
    height, width = config.augmentation.crop
    where = torch.cuda.get_device_name() if fabric.device.type == 'cuda' else 'CPU'
    table = Table(
        title=f'{config.system}, {config.batch} x {height}x{width}, {fabric.world_size} x {where}',
        show_header=False,
    )
    rows = {
        'images per second': f'{reading.images_per_second:.2f}',
        'the same without data': f'{without:.2f}',
        'share of the rate without data': f'{reading.images_per_second / without:.1%}',
        'the loader alone': f'{measured.loader:.2f}',
        'waiting for data': f'{reading.wait_share:.1%}',
        'mean loss': f'{measured.loss:.4f}',
        'peak memory': f'{reading.memory / MEBI:.0f} MiB',
        'kept for the backward pass': f'{kept[0] / MEBI:.0f} MiB',
    }
    if kept[0] != kept[1]:
        rows['the same with nothing frozen'] = f'{kept[1] / MEBI:.0f} MiB'
    for row in rows.items():
        table.add_row(*row)
    print_table(table)
