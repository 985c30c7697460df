"""Augmentation of a sample between its dataset and the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask

from dgss_core.datasets import Dataset
from dgss_core.training.augmentation.blur import GaussianBlur
from dgss_core.training.augmentation.changes import (
    Look,
    RandomChange,
    Sometimes,
    changed,
)
from dgss_core.training.augmentation.corruption import CorruptionConfig, RandomCorruption
from dgss_core.training.augmentation.crop import ScaleCrop
from dgss_core.training.augmentation.exposure import Exposure
from dgss_core.training.augmentation.jitter import ColorJitter, PhotometricJitter
from dgss_core.training.augmentation.photometric import PhotometricDistortion
from dgss_core.training.augmentation.pixels import to_image, to_pixels
from dgss_core.training.augmentation.sampling import Draw
from dgss_core.training.chance import seeded

Color = Literal['photometric', 'jitter', 'exposure', 'none']


@dataclass(frozen=True)
class Crop:
    """A crop of a frame, before the changes of its pixels.

    Attributes:
        image: uint8 (3, h, w).
        labels: uint8 (h, w).
        inside: bool (h, w), which pixels lie inside the frame, not in the fill.
        look: the changes that are still to be made.
    """

    image: Tensor
    labels: Tensor
    inside: Tensor
    look: Look = ()

    def finished(self) -> Crop:
        """The same crop after the changes, made one image at a time on the CPU."""
        image = self.image
        if any(self.look):
            image = to_image(changed(to_pixels(Image(image)), self.look)).as_subclass(Tensor)
        return replace(self, image=image.contiguous(), look=())

    @property
    def batched(self) -> bool:
        """Whether all changes can be made on a batch."""
        height, width = self.labels.shape
        return all(
            change is None or change.batched(height=height, width=width) for change in self.look
        )


class TrainingAugmentation:
    """A sequence of torchvision v2 transforms; the same seed gives the same crop.

    Those that move pixels get the image, the mask and the wanted class or None, and return the
    class unchanged. Those that only change pixels, `RandomChange`, come last.
    """

    def __init__(self, *transforms: torch.nn.Module) -> None:
        self.changes = tuple(t for t in transforms if isinstance(t, RandomChange))
        self.moves = transforms[: len(transforms) - len(self.changes)]
        if any(isinstance(transform, RandomChange) for transform in self.moves):
            raise ValueError('a transform that moves pixels follows one that changes them')

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, seed: int, wanted: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Image uint8 (3, h, w) and labels uint8 (h, w).

        Args:
            image: RGB uint8 (H, W, 3).
            labels: uint8 (H, W).
            seed: determines all random draws.
            wanted: class that the crop should show, if one was drawn.
        """
        crop = self.cut(image, labels, seed, wanted).finished()
        return crop.image, crop.labels

    def cut(
        self, image: np.ndarray, labels: np.ndarray, seed: int, wanted: int | None = None
    ) -> Crop:
        """As a call, but the changes of the pixels are only drawn."""
        inside = Mask(torch.ones(labels.shape, dtype=torch.uint8))
        parts: tuple[Any, ...] = to_image(image), Mask(torch.from_numpy(labels)), wanted, inside
        with seeded(seed):
            for transform in self.moves:
                parts = transform(*parts)
            look = tuple(change for one in self.changes for change in one.draw())
        x, y, within = (parts[i].as_subclass(Tensor) for i in (0, 1, 3))
        return Crop(x, y.contiguous(), within.bool().contiguous(), look)


def training_augmentation(
    crop: tuple[int, int],
    *,
    base: int | tuple[int, int] | None = None,
    scale: tuple[float, float] = (1, 1),
    step: float = 0,
    long_edge: int | None = None,
    shapes: tuple[float, float] | None = None,
    cat_max_ratio: float = 1,
    fill: tuple[int, int, int] = (124, 116, 104),
    flip: float = 0.5,
    color: Color = 'photometric',
    corruption: CorruptionConfig | None = None,
) -> TrainingAugmentation:
    """Scale and crop (see `ScaleCrop`), flip, change colours, and optionally corrupt.

    With `shapes`, the smallest and largest aspect ratio (width / height), a region of that shape
    is resized to the crop, as torchvision's RandomResizedCrop; `scale` is then its share of the
    area. `color`: 'photometric' is the distortion of Rein, VLTSeg and CLOUDS, 'jitter' is FAMix's
    (brightness, contrast and saturation by up to 80 %), 'exposure' is our street model's.
    """
    colors: dict[str, list[RandomChange]] = {
        'photometric': [PhotometricDistortion()],
        'jitter': [ColorJitter(0.8, 0.8, 0.8)],
        'exposure': exposure_changes(),
        'none': [],
    }
    cut: torch.nn.Module = ScaleCrop(crop, base, scale, step, long_edge, cat_max_ratio, fill=fill)
    if shapes is not None:
        cut = RegionCrop(crop, scale, shapes)
    return TrainingAugmentation(
        cut,
        v2.RandomHorizontalFlip(flip),
        *colors[color],
        *([] if corruption is None else [RandomCorruption(corruption)]),
    )


class RegionCrop(v2.RandomResizedCrop):
    """RandomResizedCrop whose masks are resized on the grid of the image.

    torchvision resizes masks by 'nearest', which moves them by up to half an output pixel.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, Mask):
            return super().transform(inpt, params)
        top, left = params['top'], params['left']
        part = inpt[top : top + params['height'], left : left + params['width']]
        part = part.as_subclass(Tensor)[None, None]
        return Mask(F.interpolate(part, tuple(self.size), mode='nearest-exact')[0, 0])


def exposure_changes() -> list[RandomChange]:
    """The changes of light between noon and night, and of sharpness."""
    return [
        Sometimes(Exposure(), 0.6),
        PhotometricJitter(0.02, 0.3),
        Sometimes(GaussianBlur(5, (0.1, 1.8)), 0.2),
    ]


class AugmentedFrames(torch.utils.data.Dataset):
    """Several datasets as one dataset of augmented crops; the index is a draw of a sampler.

    Frames are numbered consecutively, dataset after dataset. `augmentation` is one for all
    datasets or one for each. `tables`, uint8 (256,) for each dataset, map its ids to training
    ids; None keeps the ids.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        augmentation: TrainingAugmentation | Sequence[TrainingAugmentation],
        tables: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.datasets = tuple(datasets)
        if isinstance(augmentation, TrainingAugmentation):
            augmentation = [augmentation] * len(self.datasets)
        self.augmentations = tuple(augmentation)
        self.tables = None if tables is None else tuple(map(torch.from_numpy, tables))
        self.ends = np.cumsum([len(dataset) for dataset in datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Image uint8 (3, h, w) and labels uint8 (h, w)."""
        crop = self.read(draw)[0].finished()
        return crop.image, crop.labels

    def read(self, draw: Draw) -> tuple[Crop, bool]:
        """A crop, its changes only drawn, and whether the sample is labelled."""
        place = int(np.searchsorted(self.ends, draw.index, side='right'))
        index = draw.index - (int(self.ends[place - 1]) if place else 0)
        sample = self.datasets[place][index]
        crop = self.augmentations[place].cut(sample.image, sample.labels, draw.seed, draw.wanted)
        if self.tables is not None:
            crop = replace(crop, labels=self.tables[place][crop.labels.long()])
        return crop, sample.labelled
