"""Recipes that train in seconds, and frames that they can learn."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from dgss_core.labels import LabelSet
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.heads.vit_conv import VitConvHead
from dgss_core.networks.systems import SYSTEMS, SegmentationModel, System
from dgss_core.training.config import HardwareConfig, TrainConfig

CPU = HardwareConfig(accelerator='cpu', precision='32-true', workers=0)
VIT = {'width': 32, 'depth': 4, 'heads': 2, 'taps': [0, 1, 2, 3], 'image_size': 64}
MASK2FORMER = {
    'width': 32,
    'mask_width': 32,
    'groups': 4,
    'encoder_layers': 1,
    'encoder_heads': 2,
    'encoder_hidden': 32,
    'decoder_layers': 1,
    'decoder_heads': 2,
    'decoder_hidden': 32,
}
RECIPES: dict[str, dict[str, Any]] = {
    'famix': {
        'system': 'famix-rn50',
        'encoder_options': {'layers': [1, 1, 1, 2], 'width': 8},
        'options': {'width': 32, 'detail': 8},
        'augmentation': {'crop': [96, 96], 'color': 'jitter'},
        'mixing': {'side': 3},
        'optimiser': {
            'name': 'sgd', 'rate': 0.1, 'rates': {'encoder.*': 0.1}, 'weight_decay': 1e-4,
            'undecayed': [],
        },
    },
    'rein': {
        'system': 'rein-dinov2-s',
        'encoder_options': VIT,
        'options': {**MASK2FORMER, 'tokens': 16, 'rank': 4},
        'augmentation': {'crop': [64, 64], 'cat_max_ratio': 0.9},
        'optimiser': {'rate': 5e-3},
    },
    'vltseg': {
        'system': 'vltseg-clip-b',
        'encoder_options': VIT,
        'options': {**MASK2FORMER, 'queries': 16},
        'augmentation': {'crop': [64, 64]},
        'optimiser': {'rate': 2e-3, 'rates': {'encoder.*': 0.1}},
    },
    'clouds': {
        'system': 'clouds-convnext-l',
        'encoder_options': {'dims': [8, 16, 24, 32], 'depths': [1, 1, 1, 1]},
        'options': {**MASK2FORMER, 'queries': 16},
        'augmentation': {'crop': [64, 64]},
        'optimiser': {'rate': 2e-3, 'schedule': {'shape': 'constant'}},
    },
    'dgss': {
        'system': 'dgss-dinov2-s',
        'encoder_options': VIT,
        'options': {'rank': 4, 'width': 32, 'groups': 4},
        'augmentation': {'crop': [64, 64]},
        'mixing': {'side': 2, 'probability': 0.5},
        'average': {'decay': 0.9},
        'optimiser': {'rate': 2e-3},
    },
    'query': {
        'system': 'dgss-dinov2-s-query',
        'encoder_options': {**VIT, 'taps': [2]},
        'options': {'rank': 4, 'queries': 24, 'alignment': 1.0},
        'augmentation': {'crop': [64, 64]},
        'mixing': {'side': 2, 'probability': 0.5},
        'average': {'decay': 0.9},
        'optimiser': {'rate': 5e-3},
    },
}  # fmt: skip


def write_frames(root: Path, count: int = 8, classes: int = 4) -> Path:
    """Write a dataset of `count` frames, 96x96; every pixel is labelled and coloured by class."""
    folder = root / 'frames'
    for name in ('images', 'labels'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    colors = LabelSet.load('cityscapes19').colors
    for index in range(count):
        random = np.random.default_rng(index)
        labels = np.kron(random.integers(0, classes, (4, 4)), np.ones((24, 24))).astype(np.uint8)
        image = colors[labels] + random.integers(-20, 20, (96, 96, 3))
        pixels = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8)[..., ::-1])
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), pixels)
        cv2.imwrite(str(folder / 'labels' / f'{index}.png'), labels)
    description = root / 'frames.yaml'
    description.write_text(
        'images: images/{name}.png\nlabels: labels/{name}.png\nlabel_set: cityscapes19\n'
    )
    return description


def recipe(root: Path, name: str = 'dgss', **changes: Any) -> dict[str, Any]:
    """The recipe `name` on the frames below `root`, with `changes`."""
    frames = {'dataset': str(root / 'frames.yaml')}
    return {
        'weights': None,
        'sources': [frames],
        'steps': 20,
        'batch': 4,
        'evaluation': {'splits': [frames], 'every': 1000, 'pictures': 1},
        **deepcopy(RECIPES[name]),
        **changes,
    }


def parse(values: dict[str, Any]) -> TrainConfig:
    """Parse a recipe as `dgss train --config` does."""
    parser = _parser()
    return parser.instantiate(parser.parse_object({'config': deepcopy(values)})).config


@cache
def _parser() -> ArgumentParser:
    parser = ArgumentParser()
    parser.add_class_arguments(TrainConfig, 'config')
    return parser


def write_recipe(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def exact_system() -> str:
    """Register a system without batch norm and dropout, where images do not affect each other.

    One process and two must learn the same.
    """

    def compose(encoder: Encoder, label_set: LabelSet) -> SegmentationModel:
        head = VitConvHead(
            encoder.channels, encoder.strides, len(label_set), width=32, groups=4, dropout=0
        )
        head.up[1] = nn.GroupNorm(4, 16)
        return SegmentationModel(encoder, head, label_set)

    SYSTEMS['exact'] = System(compose, 'dinov2-s', '', '', '', {'pyramid': 'none'})
    return 'exact'


def tensors(model: nn.Module) -> torch.Tensor:
    """All weights of `model` as one vector."""
    return torch.cat([x.float().flatten() for x in model.state_dict().values()])
