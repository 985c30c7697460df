"""Pictures on flat surfaces: colours, labels and a silhouette, in every size that is needed."""

from collections.abc import Callable
from math import floor, log2
from threading import Lock

import cv2
import numpy as np

TRANSPARENT = 254
"""Label of a texel outside the silhouette."""

Level = tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]


class Texture:
    """Colours (h, w, 4) uint8 = RGB + emission, optionally with labels and a silhouette.

    `labels` (h, w) uint8: train ids, 254 outside the silhouette. `alpha` (h, w) uint8: above 127
    where a texel has a colour; the gaps of a fence have a label but no colour. Smaller versions
    are made on first use and kept (each side halved on its own: a rip-map).
    """

    def __init__(
        self,
        colors: np.ndarray,
        labels: np.ndarray | None = None,
        alpha: np.ndarray | None = None,
    ) -> None:
        solid, self.label = None, None
        if labels is not None:
            gone = labels == TRANSPARENT
            solid = cv2.GaussianBlur(np.where(gone, 0, 255).astype(np.uint8), (0, 0), 0.7)
            # The smooth edge can reach texels outside: give them the label of their neighbours.
            rim = cv2.erode(labels, np.ones((5, 5), np.uint8))
            labels = np.where(gone, rim, labels)
            present = labels[labels != TRANSPARENT]
            if present.size and present.min() == present.max():
                self.label, labels = int(present[0]), None
        self.colors = colors
        self._levels: dict[tuple[int, int], Level] = {(0, 0): (colors, solid, labels, alpha)}

    def level(self, *, width: float, height: float) -> Level:
        """(colors, solid, labels, alpha) for a size of `width` x `height` pixels.

        `solid` is the silhouette, None for a full rectangle. `labels` is None when every texel
        has the label `self.label`, or the label that the caller gives.
        """
        h, w = self.colors.shape[:2]
        key = (_halvings(w, width), _halvings(h, height))
        if key not in self._levels:
            size = (max(1, w >> key[0]), max(1, h >> key[1]))
            colors, solid, labels, alpha = self._levels[0, 0]
            self._levels[key] = (
                cv2.resize(colors, size, interpolation=cv2.INTER_AREA),
                _resized(solid, size, cv2.INTER_AREA),
                _resized(labels, size, cv2.INTER_NEAREST),
                _resized(alpha, size, cv2.INTER_NEAREST),
            )
        return self._levels[key]


class PaintedLater(Texture):
    """A texture that `paint` makes when it is first seen, once for all threads."""

    def __init__(self, paint: Callable[[], Texture]) -> None:
        self._paint = paint
        self._made: Texture | None = None
        self._painting = Lock()

    @property
    def _painted(self) -> Texture:
        if self._made is None:
            with self._painting:
                if self._made is None:
                    self._made = self._paint()
                    del self._paint  # What it holds is no longer needed.
        return self._made

    @property
    def label(self) -> int | None:  # type: ignore[override]
        return self._painted.label

    def level(self, *, width: float, height: float) -> Level:
        return self._painted.level(width=width, height=height)


def _halvings(texels: int, pixels: float) -> int:
    return min(max(floor(log2(texels / max(pixels, 1.0))), 0), 8)


def _resized(
    mask: np.ndarray | None, size: tuple[int, int], interpolation: int
) -> np.ndarray | None:
    """`size`: (width, height), as cv2 takes it."""
    return None if mask is None else cv2.resize(mask, size, interpolation=interpolation)
