"""Named evaluation protocols: at which size each paper's code looks at the test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from dgss_core.datasets.sample import Sample
from dgss_core.errors import unknown
from dgss_core.labels import IGNORE

RESAMPLE = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}


@dataclass(frozen=True)
class View:
    """How a test image is brought to the network, as protocols.yaml says it."""

    fit: tuple[int, int] | None = None
    short: int | None = None
    height: int | None = None
    cut: tuple[int, int] | None = None
    square: int | None = None
    labels: bool = False
    halve: bool = False
    only: tuple[int, int] | None = None
    resample: str = 'linear'

    def __call__(self, sample: Sample) -> Sample | None:
        """The sample as the protocol sees it, None where it is left out.

        Where labels keep their size, scores have to be resized to them.
        """
        image, labels = sample.image, sample.labels
        if self.only and image.shape[1::-1] != tuple(self.only):
            return None
        if self.halve:
            image, labels = (self._resized(x, 0.5) for x in (image, labels))
        factor = self._factor(*image.shape[1::-1])
        image = self._resized(image, factor)
        labels = self._resized(labels, factor) if self.labels else labels
        if size := (self.square, self.square) if self.square else self.cut:
            image, labels = _centred(image, size, 0), _centred(labels, size, IGNORE)
        return replace(sample, image=image, labels=labels)

    def _factor(self, width: int, height: int) -> float:
        short, long = sorted((width, height))
        if self.fit:
            return min(self.fit[0] / long, self.fit[1] / short)
        if self.short:
            return self.short / short
        return self.height / height if self.height else 1.0

    def _resized(self, pixels: np.ndarray, factor: float) -> np.ndarray:
        height, width = pixels.shape[:2]
        size = (int(width * factor + 0.5), int(height * factor + 0.5))
        if size == (width, height):
            return pixels
        how = RESAMPLE[self.resample] if pixels.ndim == 3 else cv2.INTER_NEAREST
        return cv2.resize(pixels, size, interpolation=how)


@dataclass(frozen=True)
class Protocol:
    """A protocol of protocols.yaml.

    `map`: label map of Mapillary. `window`, `stride`: of sliding windows in pixels; None sees the
    whole image. `views`: by dataset, `any` for the others.
    """

    name: str
    source: str
    map: str
    views: Mapping[str, View]
    window: int | None = None
    stride: int | None = None

    def view(self, dataset: str) -> View:
        """How images of `dataset`, a name of `dgss_core.datasets.DATASETS`, are looked at."""
        # Version 2.0 of Mapillary has the images of 1.2.
        return self.views.get(dataset.removesuffix('_v2'), self.views['any'])

    @property
    def title(self) -> str:
        """One line to print with every score."""
        mode = f'windows of {self.window} every {self.stride}' if self.window else 'whole images'
        return f'protocol {self.name} ({mode})'


def load_protocol(name: str) -> Protocol:
    """The protocol of that name; DgssError names those there are."""
    known = yaml.safe_load(Path(__file__).with_name('protocols.yaml').read_text())
    if name not in known:
        raise unknown('protocol', name, known)
    views = {dataset: _view(view) for dataset, view in known[name].pop('views').items()}
    return Protocol(name, views=views, **known[name])


def _view(options: dict[str, Any]) -> View:
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in options.items()
    }
    return View(**fields)


def _centred(pixels: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """The middle of `pixels`, or `pixels` in the middle of `fill`, (width, height) large."""
    whole = np.full((size[1], size[0], *pixels.shape[2:]), fill, np.uint8)
    into, out = [], []
    for room, length in zip(whole.shape[:2], pixels.shape[:2], strict=True):
        kept = min(room, length)
        into.append(slice((room - kept) // 2, (room - kept) // 2 + kept))
        out.append(slice((length - kept) // 2, (length - kept) // 2 + kept))
    whole[tuple(into)] = pixels[tuple(out)]
    return whole
