"""Watches the images and masks of one camera: picture faults, one-class masks, domain shift."""

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
"""Number of last frames. A fault of the picture is reported if more than half of them show it."""
ONE_CLASS = 0.995
"""Share of the pixels from which a mask counts as of one class."""


@dataclass(frozen=True)
class WatchReport:
    """Observations of the last frames.

    `flags`: faults of the pictures; `quality`: of the last picture, None before the first.
    `largest`: the most frequent id of the last mask; `share`: its share of the pixels;
    `one_class`: number of masks in a row that are of one and the same class. `distances`: distance
    from the source per descriptor; empty if the bundle has no statistics of its source.
    """

    flags: tuple[str, ...] = ()
    quality: ImageQuality | None = None
    largest: int = 0
    share: float = 0.0
    one_class: int = 0
    distances: dict[str, float] = field(default_factory=dict)


class CameraWatch:
    """Observes the frames of one camera in order. `report` may be read from any thread."""

    def __init__(self) -> None:
        self._quality = QualityMonitor()
        self._shift: DomainShiftMonitor | None = None
        self._bundle: Bundle | None = None
        self._distances: dict[str, float] = {}
        self._recent: deque[tuple[str, ...]] = deque(maxlen=RECENT)
        self.report = WatchReport()

    def update(self, image: np.ndarray, prediction: Prediction, bundle: Bundle) -> float | None:
        """Add a frame: the image, RGB uint8 (H, W, 3), and its prediction, both at network size.

        Returns the largest distance from the source over all descriptors, in standard deviations
        of the source; None if the bundle has no statistics of its source.
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
