"""What the node watches in the frames of one camera besides their number and pace."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.monitoring.domain_shift import DomainShiftMonitor
from dgss_core.runtime.monitoring.image_quality import ImageQuality, QualityMonitor
from dgss_core.runtime.segmenter import Prediction

RECENT = 10
"""Frames seen, of which more than half must show a fault of the picture before it is reported."""
ONE_CLASS = 0.995
"""Share of a mask from which on it is of one class."""


@dataclass(frozen=True)
class WatchReport:
    """What the last frames showed.

    `flags`: what is wrong with the pictures; `quality`: of the last one, None before the first.
    `largest`: the id that fills most of the last mask, and its `share`; `one_class`: how many
    masks in a row were of one class and the same. `distances`: of the drive from the source, per
    descriptor; empty where the bundle has no statistics of it.
    """

    flags: tuple[str, ...] = ()
    quality: ImageQuality | None = None
    largest: int = 0
    share: float = 0.0
    one_class: int = 0
    distances: dict[str, float] = field(default_factory=dict)


class CameraWatch:
    """Sees the frames of one camera in their order. `report` may be read from any thread."""

    def __init__(self) -> None:
        self._quality = QualityMonitor()
        self._shift: DomainShiftMonitor | None = None
        self._bundle: Bundle | None = None
        self._distances: dict[str, float] = {}
        self._recent: deque[tuple[str, ...]] = deque(maxlen=RECENT)
        self.report = WatchReport()

    def update(self, image: np.ndarray, prediction: Prediction, bundle: Bundle) -> float | None:
        """Add a frame: the image and the prediction, both at network size.

        Returns how far the drive lies from the source, by the descriptor that says the most; None
        where the bundle knows no source.
        """
        if bundle is not self._bundle:
            source = bundle.manifest.source
            self._bundle = bundle
            self._shift = DomainShiftMonitor(source) if source else None
            self._distances = {}
        quality = self._quality.update(image)
        if self._shift:
            self._distances = self._shift.update(image, prediction)
        largest, share = _largest(prediction.mask)
        self._recent.append(quality.flags)
        before = self.report.one_class if largest == self.report.largest else 0
        one_class = before + 1 if share >= ONE_CLASS else 0
        self.report = WatchReport(
            self._flags(), quality, largest, share, one_class, self._distances
        )
        return max(self._distances.values(), default=None)

    def _flags(self) -> tuple[str, ...]:
        counts = Counter(flag for flags in self._recent for flag in flags)
        return tuple(flag for flag, count in counts.items() if 2 * count > len(self._recent))


def _largest(mask: np.ndarray) -> tuple[int, float]:
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    largest = int(counts.argmax())
    return largest, float(counts[largest]) / mask.size
