"""Evaluation protocols by name: the image sizes at which the code of each paper evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from dgss_core.datasets.sample import Sample
from dgss_core.documents import read_yaml
from dgss_core.errors import unknown
from dgss_core.labels import IGNORE

SMOOTHING = {
    'pillow_linear': Image.Resampling.BILINEAR,
    'pillow_cubic': Image.Resampling.BICUBIC,
}
"""Filters of Pillow, which are wider where an image shrinks; OpenCV's `linear` is not."""


@dataclass(frozen=True)
class ProtocolView:
    """How a protocol resizes and cuts a test image; protocols.yaml describes the fields.

    `within`: (long, short) edge in pixels. `cut`, `only`: (width, height) in pixels.
    """

    within: tuple[int, int] | None = None
    short: int | None = None
    height: int | None = None
    cut: tuple[int, int] | None = None
    square: int | None = None
    labels: bool = False
    halve: bool = False
    only: tuple[int, int] | None = None
    resample: str = 'linear'

    def __call__(self, sample: Sample) -> Sample | None:
        """Apply the protocol to a sample; None if the protocol excludes the image.

        The labels may keep their size; scores then have to be resized to it.
        """
        image, labels = sample.image, sample.labels
        if self.only and image.shape[1::-1] != tuple(self.only):
            return None
        if self.halve:
            half = image.shape[1] // 2, image.shape[0] // 2
            image, labels = (_resized(x, half, 'pillow_cubic') for x in (image, labels))
        size = self._size(width=image.shape[1], height=image.shape[0])
        image = _resized(image, size, self.resample)
        labels = _resized(labels, size, self.resample) if self.labels else labels
        if cut := (self.square, self.square) if self.square else self.cut:
            image, labels = _centred(image, cut, 0), _centred(labels, cut, IGNORE)
        return replace(sample, image=image, labels=labels)

    def _size(self, *, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the resize, rounded as in the code of the papers."""
        short, long = sorted((width, height))
        factor = 1.0
        if self.within:
            factor = min(self.within[0] / long, self.within[1] / short)
        elif self.short:
            factor = self.short / short
        elif self.height:
            return int(width / height * self.height), self.height
        return int(width * factor + 0.5), int(height * factor + 0.5)


@dataclass(frozen=True)
class Protocol:
    """A protocol of protocols.yaml.

    `map`: label map for Mapillary. `window`, `stride`: of sliding windows, in pixels; None for
    whole images. `views`: by dataset, `any` for all others.
    """

    name: str
    source: str
    map: str
    views: Mapping[str, ProtocolView]
    window: int | None = None
    stride: int | None = None

    def view(self, dataset: str) -> ProtocolView:
        """The view for `dataset`, a name of `dgss_core.datasets.DATASETS`."""
        # Version 2.0 of Mapillary has the same images as 1.2.
        return self.views.get(dataset.removesuffix('_v2'), self.views['any'])

    @property
    def title(self) -> str:
        """One line to print with every score."""
        mode = f'windows of {self.window} every {self.stride}' if self.window else 'whole images'
        return f'protocol {self.name} ({mode})'


def load_protocol(name: str) -> Protocol:
    """Load a protocol by name; DgssError lists the known ones for another name."""
    known = read_yaml(Path(__file__).with_name('protocols.yaml'))
    if name not in known:
        raise unknown('protocol', name, known)
    views = {dataset: _view(view) for dataset, view in known[name].pop('views').items()}
    return Protocol(name, views=views, **known[name])


def _view(options: dict[str, Any]) -> ProtocolView:
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in options.items()
    }
    return ProtocolView(**fields)


def _resized(pixels: np.ndarray, size: tuple[int, int], resample: str) -> np.ndarray:
    """An image (H,W,3), or labels (H,W) by the nearest pixel, at `size` (width, height)."""
    if size == pixels.shape[1::-1]:
        return pixels
    if pixels.ndim == 2:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    if resample in SMOOTHING:
        return np.asarray(Image.fromarray(pixels).resize(size, SMOOTHING[resample]))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)


def _centred(pixels: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """Crop `pixels` to the middle, or pad them with `fill`, to `size` (width, height)."""
    whole = np.full((size[1], size[0], *pixels.shape[2:]), fill, np.uint8)
    into, out = [], []
    for room, length in zip(whole.shape[:2], pixels.shape[:2], strict=True):
        kept = min(room, length)
        into.append(slice((room - kept) // 2, (room - kept) // 2 + kept))
        out.append(slice((length - kept) // 2, (length - kept) // 2 + kept))
    whole[tuple(into)] = pixels[tuple(out)]
    return whole
