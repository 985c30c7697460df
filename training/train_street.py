"""Train the embedded bundle, export it, and score the exported bundle.

    python training/train_street.py --recipe config/train/street-mobilenetv2.yaml \
        --recipe.weights mobilenetv2.safetensors --data DATASETS --output runs/street

DATASETS contains camvid/ and kitti/. Only day frames of the real drives are used; the synthetic
drive adds the other conditions. --output receives the files of `dgss train` and the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from dgss_core.commands.parser import Parser
from dgss_core.datasets.synthetic import SYNTHETIC
from dgss_core.evaluation.evaluate import evaluate
from dgss_core.export import export_bundle
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.runtime.bundle.writing import update_manifest
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.training.config import DEFAULT_HARDWARE, HardwareConfig, TrainConfig
from dgss_core.training.loop import train

TRAINED_ON = ('CamVid day_train', 'KITTI semantics 2015', 'synthetic street drive')
LICENCE = (
    'Weights for non-commercial use only: trained on CamVid (CC BY-NC 4.0) and KITTI '
    '(CC BY-NC-SA 3.0); encoder initialised from ImageNet weights (Apache-2.0).'
)
SOURCE_FRAMES = 64


def street(
    recipe: TrainConfig,
    data: Path,
    output: Path = Path('runs/street'),
    size: tuple[int, int] = (448, 640),
    hardware: HardwareConfig = DEFAULT_HARDWARE,
    resume: bool = False,
) -> None:
    """Train the embedded bundle.

    Args:
        recipe: the recipe to train
        data: folder with camvid/ and kitti/
        output: folder for checkpoints, bundle and logs
        size: height and width of the bundle's network in pixels
        hardware: how the recipe runs on this machine
        resume: continue from the last saved state
    """
    train(recipe, data, output, hardware, resume)
    bundle = export_bundle(
        load_checkpoint(output / 'model.safetensors'),
        output / 'bundle',
        name='street-mobilenetv2',
        height=size[0],
        width=size[1],
        licence=LICENCE,
        training_data=TRAINED_ON,
        source=list(source_images(recipe, data)),
        overwrite=True,
    )
    segmenter = Segmenter(bundle)
    scored = [split.open(data) for split in recipe.evaluation.splits]
    metrics = {
        f'mIoU {dataset.title}': round(evaluate(segmenter, dataset, dataset.title).miou, 4)
        for dataset in scored
    }
    update_manifest(bundle, metrics=metrics)
    print(json.dumps(metrics, indent=2))


def source_images(recipe: TrainConfig, data: Path) -> Iterator[np.ndarray]:
    """About 64 day frames of each training dataset, RGB uint8 (H, W, 3), evenly spaced.

    Day only: the scores of the real drives do not hold in other conditions, and the domain-shift
    monitor must report those.
    """
    for split in recipe.sources:
        by_day = {'conditions': ['day']} if split.dataset == SYNTHETIC else {}
        dataset = replace(split, options=split.options | by_day).open(data)
        for index in range(0, len(dataset), max(1, len(dataset) // SOURCE_FRAMES)):
            yield dataset[index].image


if __name__ == '__main__':
    auto_cli(street, as_positional=False, parser_class=Parser)
