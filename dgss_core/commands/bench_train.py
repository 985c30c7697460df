"""`dgss bench train`: the cost of a recipe on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning_fabric as L
import torch
from rich.console import Console
from rich.table import Table

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.memory import graph_bytes
from dgss_core.training.config import DEFAULT_HARDWARE, HardwareConfig, TrainConfig
from dgss_core.training.data import batches
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
    """Measure steps of a recipe: images per second, share of time waiting for data, memory.

    Nothing is saved. The encoder's weights are random, which costs the same.

    Args:
        config: a recipe of config/train, or your own
        data: folder that contains the datasets, each under its name
        steps: optimiser steps to measure
        warmup: steps before the measured ones
        hardware: how the recipe runs on this machine
    """
    if steps < 1 or warmup < 0:
        raise DgssError(f'{steps} steps after {warmup} cannot be measured; give at least 1 and 0.')
    fabric = build_fabric(hardware)
    evaluation = replace(config.evaluation, splits=[])
    config = replace(config, weights=None, start=None, evaluation=evaluation)
    with TemporaryDirectory() as folder:
        record = Record(Path(folder), fabric.is_global_zero)
        training = setup(fabric, config, data, record, hardware)
        training.objective.train()
        reading = measure(fabric, training, warmup, steps)
    kept = backward_bytes(fabric, training)
    if fabric.is_global_zero:
        show(training, reading, kept, fabric)


def measure(fabric: L.Fabric, training: Training, warmup: int, steps: int) -> Reading:
    """Run `warmup` steps, then measure `steps` steps."""
    images, meter = batches(training.loader), Meter(fabric.device)
    for step in range(warmup + steps):
        if step == warmup:
            meter.read()
        take_step(fabric, training, images, meter)
        meter.images += training.config.batch
    return meter.read()


def backward_bytes(fabric: L.Fabric, training: Training) -> tuple[int, int]:
    """Bytes that one pass keeps for the backward pass: with the recipe's frozen encoder, and with
    the whole encoder trained."""
    images, labels, labelled, inside, _ = next(batches(training.loader)).on(fabric)
    labels = labels.long()

    def forward() -> object:
        return training.objective(images, labels, 0, labelled, inside)

    kept = graph_bytes(forward)
    training.segmenter.model.encoder.requires_grad_(True)
    return kept, graph_bytes(forward)


def show(training: Training, reading: Reading, kept: tuple[int, int], fabric: L.Fabric) -> None:
    config = training.config
    height, width = config.augmentation.crop
    where = torch.cuda.get_device_name() if fabric.device.type == 'cuda' else 'CPU'
    table = Table(
        title=f'{config.system}, {config.batch} x {height}x{width}, {fabric.world_size} x {where}',
        show_header=False,
    )
    rows = {
        'images per second': f'{reading.images_per_second:.2f}',
        'waiting for data': f'{reading.wait_share:.1%}',
        'peak memory': f'{reading.memory / MEBI:.0f} MiB',
        'kept for the backward pass': f'{kept[0] / MEBI:.0f} MiB',
    }
    if kept[0] != kept[1]:
        rows['the same with nothing frozen'] = f'{kept[1] / MEBI:.0f} MiB'
    for row in rows.items():
        table.add_row(*row)
    Console().print(table)
