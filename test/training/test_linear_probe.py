"""Every recipe beats a linear probe of its encoder on its source, at reduced size on CamVid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_training import CPU, RECIPES, parse

from dgss_core.labels import LabelSet
from dgss_core.networks.adapters.freezing import freeze
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.heads.linear import LinearHead
from dgss_core.networks.systems import SYSTEMS, SegmentationModel, System
from dgss_core.training.loop import train

STEPS, FRAMES, HEIGHT = 300, 48, 120


def probe_of(system: str) -> str:
    """Register a linear head on the frozen encoder of a system."""

    def compose(encoder: Encoder, label_set: LabelSet) -> SegmentationModel:
        freeze(encoder, 'frozen')
        head = LinearHead(encoder.channels, encoder.strides, len(label_set), encoder.strides[0])
        return SegmentationModel(encoder, head, label_set)

    known = SYSTEMS[system]
    SYSTEMS['probe'] = System(compose, known.encoder, '', '', '', known.options)
    return 'probe'


def source_miou(folder: Path, data: Path, listing: Path, recipe: dict[str, Any]) -> float:
    frames = {'dataset': 'camvid', 'split': 'day_train', 'options': {'listing': str(listing)}}
    values = {
        'weights': None,
        'label_set': 'camvid11',
        'sources': [frames],
        'steps': STEPS,
        'batch': 8,
        'evaluation': {
            'splits': [frames],
            'look': {'ratios': [HEIGHT / 360]},
            'every': STEPS,
            'pictures': 0,
        },
        **recipe,
    }
    train(parse(values), data, folder, CPU)
    return json.loads((folder / 'scores.jsonl').read_text())['miou']


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_beats_a_linear_probe(name: str, shared: Path, tmp_path: Path) -> None:
    data, listing = shared / 'data', tmp_path / 'frames'
    names = (data / 'camvid' / 'splits' / 'day_train.txt').read_text().split()
    listing.write_text('\n'.join(names[:: len(names) // FRAMES]))
    recipe = dict(RECIPES[name])
    recipe['augmentation'] = {'crop': [96, 96], 'base': HEIGHT, 'color': 'none'}
    if 'patch' not in recipe['encoder_options'] and 'taps' in recipe['encoder_options']:
        recipe['encoder_options'] = {**recipe['encoder_options'], 'patch': 8, 'image_size': 96}
    linear = {
        **recipe,
        'system': probe_of(recipe['system']),
        'options': {},
        'mixing': None,
        'optimiser': {'rate': 5e-3},
    }
    probe = source_miou(tmp_path / 'probe', data, listing, linear)
    ours = source_miou(tmp_path / 'recipe', data, listing, recipe)
    print(f'{name}: {100 * ours:.1f} mIoU, its linear probe {100 * probe:.1f}')
    assert ours > probe
