"""Images on which no network can work: black, too dark, saturated, blurred, frozen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WIDTH = 320
"""Width in pixels at which an image is judged; a blur that is finer does no harm."""
BLACK = 16
"""Grey level. An image is black if 99 % of its pixels are darker; lamps and lane markings at
night are brighter."""
TOO_DARK = 20.0
"""Least mean grey level. Synthetic nights have 38 or more, dusk of CamVid 45 or more."""
SATURATED = 0.5
"""Largest share of white pixels; an overexposed sky of CamVid has up to 0.45."""
BLURRED = 0.5
"""Largest blur. Sharp frames have 0.10 to 0.36 by day, night, fog, rain and snow; with a Gaussian
blur of 0.6 % of their width (sigma) they have 0.55 or more."""
FROZEN = 5
"""Repeats of a frame in a row, seen in grey at the width of the check and at its rate; the noise
of a working sensor prevents them."""


@dataclass(frozen=True)
class ImageQuality:
    """The measurements of one image, to compare with the constants above.

    `brightness`: mean grey level, 0 to 255. `highlight`: 99th percentile of the grey levels.
    `white`: share of pixels at 250 or more. `blur`: 0 to 1. `repeats`: number of identical images
    directly before this one.
    """

    brightness: float
    highlight: int
    white: float
    blur: float
    repeats: int

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of all faults of the image; empty if there is none."""
        if self.highlight < BLACK:
            wrong = {'black': True}
        else:
            wrong = {
                'too dark': self.brightness < TOO_DARK,
                'saturated': self.white > SATURATED,
                'blurred': self.blur > BLURRED,
            }
        wrong['frozen'] = self.repeats >= FROZEN
        return tuple(flag for flag, holds in wrong.items() if holds)


class QualityMonitor:
    """Judges the images of one camera, in their order."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._repeats = 0

    def update(self, image: np.ndarray) -> ImageQuality:
        """Judge the next image, RGB uint8 (H, W, 3)."""
        height = max(1, round(WIDTH * image.shape[0] / image.shape[1]))
        # Linear interpolation reads few pixels and takes well under a millisecond.
        small = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_LINEAR)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        same = self._last is not None and np.array_equal(grey, self._last)
        self._repeats = self._repeats + 1 if same else 0
        self._last = grey
        shares = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel() / grey.size
        return ImageQuality(
            brightness=float(shares @ np.arange(256)),
            highlight=int(np.searchsorted(np.cumsum(shares), 0.99)),
            white=float(shares[250:].sum()),
            blur=_blur(grey),
            repeats=self._repeats,
        )


def _blur(grey: np.ndarray) -> float:
    """The share of the edges that remains after another blur, 0 to 1, in the worse direction.

    Independent of contrast, and therefore of night and fog. Crete et al., "The blur effect:
    perception and estimation with a new no-reference perceptual blur metric", SPIE 6492, 2007.
    """
    shares = []
    for plane in (grey, cv2.transpose(grey)):
        blurred = cv2.blur(plane, (1, 9))
        edges = cv2.absdiff(plane[1:], plane[:-1])
        lost = cv2.subtract(edges, cv2.absdiff(blurred[1:], blurred[:-1]))
        total = cv2.sumElems(edges)[0]
        shares.append(1 - cv2.sumElems(lost)[0] / total if total else 1.0)
    return max(shares)
