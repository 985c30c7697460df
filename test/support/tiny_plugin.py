"""The smallest system, from the example of a plugin: four convolutions and the light conv head."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from dgss_core import plugins
from dgss_core.networks.checkpoint import About, save_checkpoint
from dgss_core.networks.systems import build_system
from dgss_core.networks.systems.model import SegmentationModel

PLUGIN = Path(__file__).parents[2] / 'examples' / 'plugin'
SIZES = {'encoder_options': {'width': 4}, 'width': 8}


def add_tiny(patch: pytest.MonkeyPatch) -> None:
    """Let `dgss-tiny` be a system, as if the example was installed."""
    patch.syspath_prepend(str(PLUGIN))
    entry = EntryPoint('tiny', 'tiny_encoder:build_encoder', plugins.ENCODERS)
    patch.setitem(plugins.plugins(plugins.ENCODERS), 'tiny', entry)


def tiny_model(seed: int = 0) -> SegmentationModel:
    """A model of random weights; it takes the least time to export."""
    torch.manual_seed(seed)
    return build_system('dgss-tiny', **SIZES).eval()


def save_tiny(path: Path, seed: int = 0) -> SegmentationModel:
    """Write a checkpoint of random weights, and return its model."""
    model = tiny_model(seed)
    save_checkpoint(model, path, About('dgss-tiny', SIZES, 'test', '0' * 64, 'MIT'))
    return model
