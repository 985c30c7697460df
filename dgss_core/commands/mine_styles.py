"""`dgss mine-styles`: mine a bank of styles for FAMix."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import DataLoader

from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import with_progress
from dgss_core.datasets import Dataset, build_dataset
from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError
from dgss_core.files import Kind, refuse_file
from dgss_core.networks.device import keep_freed_memory
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.tensor_files import read_metadata
from dgss_core.networks.text.embeddings import TextTower
from dgss_core.networks.text.prompts import styles as published_styles
from dgss_core.training.augmentation import (
    AugmentedFrames,
    Draws,
    UniformSampler,
    training_augmentation,
)
from dgss_core.training.mining import mine_bank
from dgss_core.training.styles import SCHEMA

EMBEDDINGS = {'clip-rn50': ('RN50/openai', 1024), 'clip-rn101': ('RN101/openai', 512)}
"""Text tower and embedding width of each encoder."""


def mine_styles(
    *,
    dataset: str,
    output: Path,
    encoder: Literal['clip-rn50', 'clip-rn101'] = 'clip-rn50',
    data: Path = Path('data'),
    split: str | None = None,
    listing: Path | None = None,
    styles: Path | None = None,
    crop: int = 768,
    batch: int = 16,
    batches: int | None = None,
    workers: int = 2,
    device: str = 'cuda' if torch.cuda.is_available() else 'cpu',
    seed: int = 1,
) -> None:
    """Mine styles for `mixing.bank` of a recipe with prompts, as FAMix does; needs CLIP's weights.

    Args:
        dataset: the training dataset of the recipe
        output: the .safetensors file to write
        encoder: the encoder of the recipe
        data: folder that contains the datasets, each under its name
        split: split of the dataset; its first one by default
        listing: text file with the names of the frames to use, one per line
        styles: YAML list of styles in words; the 20 published ones by default
        crop: side of the crops in pixels, a multiple of 96
        batch: crops mined together
        batches: number of batches; one pass over the dataset by default
        workers: loader processes
        device: cpu, cuda, cuda:1, ...
        seed: seed of all random numbers
    """
    _check(crop, batch)
    at_least(1, batches=batches)
    at_least(0, workers=workers, seed=seed)
    refuse_file(output, BANK)
    options = {} if listing is None else {'listing': listing}
    frames = build_dataset(dataset, data / Path(dataset).stem, split, **options)
    count = len(frames) // batch if batches is None else batches
    if not count:
        raise DgssError(f'{frames.title} do not fill a batch of {batch}; give a smaller --batch.')
    words = read_styles(styles)
    if torch.device(device).type == 'cpu':
        keep_freed_memory()
    clip, tower = _clip(encoder, device)
    loader = _crops(frames, crop, batch, workers, seed)
    parts = with_progress(islice(loader, count), 'Mining', count)
    on_device = ((images.to(device), labels.to(device)) for images, labels in parts)
    bank = mine_bank(clip, tower, on_device, frames.label_set, words, seed)
    bank.save(output, frames.label_set, encoder)
    sizes = (f'{name} {len(found)}' for name, found in bank.named(frames.label_set).items())
    print(f'{output}: {", ".join(sizes)}')


def _why_no_bank(path: Path) -> str:
    return '' if read_metadata(path).get('schema') == SCHEMA else 'it has another schema'


BANK = Kind('a style bank', _why_no_bank)


def _check(crop: int, batch: int) -> None:
    if crop % 96 or crop < 96 or batch < 1:
        raise DgssError(
            f'Crops of {crop} in batches of {batch} cannot be cut into 3x3 patches; '
            'give a crop that 96 divides and a batch of at least 1.'
        )


def _clip(encoder: str, device: str) -> tuple[ClipResNet, TextTower]:
    tower, width = EMBEDDINGS[encoder]
    clip = build_encoder(encoder, 'pretrained', embedding=width).to(device)
    assert isinstance(clip, ClipResNet)
    return clip, TextTower.named(tower)


def _crops(frames: Dataset, side: int, batch: int, workers: int, seed: int) -> DataLoader:
    """Endless batches of random crops (`side`, `side`) without colour changes and flips."""
    return DataLoader(
        AugmentedFrames([frames], training_augmentation((side, side), color='none', flip=0)),
        batch,
        sampler=Draws(UniformSampler(len(frames), seed)),
        num_workers=workers,
    )


def read_styles(path: Path | None) -> list[str]:
    """The styles in a YAML file, or the published ones. Raises DgssError if it is not a list."""
    if path is None:
        return list(published_styles())
    words = read_yaml(path)
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise DgssError(
            f'{path} must be a YAML list of styles in words, - Urban Grit for example.'
        )
    return words
