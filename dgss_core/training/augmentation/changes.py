"""Changes of pixels with drawn numbers: one image at a time in a loader, or a batch on its device.

draw        in the loader, with the seed of the crop
on_image    OpenCV, uint8 (H, W, 3): the fastest form on a CPU
on_batch    torch, uint8 (B, 3, H, W): a few launches for all images
Both forms agree to within rounding, but for zoom_blur, where OpenCV interpolates at multiples of
1/32 pixel; noise has the same distribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.tv_tensors import Image

from dgss_core.training.augmentation.pixels import to_image, to_pixels


class Change(ABC):
    """A change of the pixels of one image, all its numbers drawn."""

    def batched(self, *, height: int, width: int) -> bool:
        """Whether `on_batch` can make this change of images of this size in pixels."""
        return True

    @abstractmethod
    def on_image(self, pixels: np.ndarray) -> np.ndarray:
        """The changed image, uint8 (H, W, 3) like `pixels`, which stay as they are."""

    @staticmethod
    @abstractmethod
    def on_batch(images: Tensor, changes: Sequence[Any]) -> Tensor:
        """The changed images, uint8 (B, 3, H, W); `changes` are of this class, one per image."""


Look = tuple[Change | None, ...]
"""The changes of one image in their order; None where a change was not drawn."""


class RandomChange(v2.Transform):
    """A transform of torchvision that draws changes; it leaves masks as they are."""

    places: int = 1
    """Length of its looks."""

    def draw(self) -> Look:
        """Draw the changes from torch's CPU generator."""
        raise NotImplementedError

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {'look': self.draw()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, Image):
            return inpt
        return to_image(changed(to_pixels(inpt), params['look']))


class Sometimes(RandomChange):
    """The changes of another transform with a probability, as torchvision's RandomApply."""

    def __init__(self, change: RandomChange, probability: float) -> None:
        super().__init__()
        self.change, self.probability = change, probability
        self.places = change.places

    def draw(self) -> Look:
        if torch.rand(1).item() < self.probability:
            return self.change.draw()
        return (None,) * self.places


def changed(pixels: np.ndarray, look: Look) -> np.ndarray:
    """An image uint8 (H, W, 3) after all changes of its look."""
    for change in look:
        if change is not None:
            pixels = change.on_image(pixels)
    return pixels


def changed_batch(images: Tensor, looks: Sequence[Look]) -> Tensor:
    """Images uint8 (B, 3, H, W) after the changes of their looks, on their device."""
    for place in range(max(map(len, looks), default=0)):
        rows: dict[type[Change], list[int]] = {}
        for row, look in enumerate(looks):
            change = look[place] if place < len(look) else None
            if change is not None:
                rows.setdefault(type(change), []).append(row)
        for kind, chosen in rows.items():
            changes = [looks[row][place] for row in chosen]
            images = changed_rows(images, chosen, partial(kind.on_batch, changes=changes))
    return images


def changed_rows(
    images: Tensor, rows: Sequence[int], change: Callable[[Tensor], Tensor]
) -> Tensor:
    """Images (B, ...) of which `rows` are changed."""
    if len(rows) == len(images):
        return change(images)
    index = on(images, rows)
    return images.index_copy(0, index, change(images.index_select(0, index)))


def on(images: Tensor, values: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers as a tensor on the device of `images`; the host does not wait for the copy."""
    tensor = torch.as_tensor(values, dtype=dtype)
    if images.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(images.device, non_blocking=True)


def per_image(images: Tensor, values: Sequence[float]) -> Tensor:
    """Numbers, one for each image, as float32 (B, 1, 1, 1) on their device."""
    return on(images, values, torch.float32).view(-1, 1, 1, 1)


def noise_plane(seed: int, size: Sequence[int], device: torch.device | str = 'cpu') -> Tensor:
    """Standard normal noise float32 of `size`, a function of the seed and the kind of device."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(tuple(size), generator=generator, device=device)


def draw_seed() -> int:
    """A seed, 0 to 2^62 - 1, from torch's CPU generator."""
    return int(torch.randint(2**62, ()))
