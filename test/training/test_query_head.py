"""The query head learns the synthetic drive."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from tiny_training import CPU, RECIPES, VIT, parse, recipe

from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.training.loop import train

STEPS = 60
FRAMES = {'seeds': [1000, 1001], 'frames': 2, 'conditions': ['day'], 'width': 160, 'height': 96}


def test_it_learns_the_synthetic_drive(tmp_path: Path) -> None:
    drive = {'dataset': 'synthetic', 'options': FRAMES}
    values = recipe(
        tmp_path,
        'query',
        # Without layer scale: random blocks then change their tokens, as trained ones do.
        encoder_options={**VIT, 'taps': [2], 'patch': 8, 'layer_scale': None},
        options={**RECIPES['query']['options'], 'adapter': 'full'},
        augmentation={'crop': [64, 64], 'color': 'none'},
        sources=[drive],
        evaluation={'splits': [drive], 'every': STEPS, 'pictures': 0},
        mixing=None,
        optimiser={'rate': 3e-3},
        steps=STEPS,
        batch=2,
    )
    train(parse(values), tmp_path, tmp_path / 'run', replace(CPU, in_memory=True))
    score = json.loads((tmp_path / 'run' / 'scores.jsonl').read_text())
    learnt = [name for name, iou in zip(score['classes'], score['iou'], strict=True) if iou]
    assert {'road', 'sky'} <= {*learnt}, score
    assert score['miou'] > 0.05
    file = tmp_path / 'run' / 'model.safetensors'
    assert load_file(file)['head.classify.prototypes'].any(1).sum() > 3
    assert load_checkpoint(file)(torch.rand(1, 3, 96, 160)).shape == (1, 19, 48, 80)
