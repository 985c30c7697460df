"""How far the frames of a drive lie from those the network was trained on.

Four descriptors of a frame, from the picture to the prediction:

- `image`: mean and standard deviation of brightness and of two opponent colours, and sharpness;
- `features`: channel means and standard deviations of an early feature map, where the network
  gives them. That they carry the style of a picture, and so its domain, is Huang and Belongie,
  "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017, sec. 5;
- `confidence`: its mean and the share of pixels below one half. The mean follows the accuracy
  under shift: Guillory et al., "Predicting with Confidence on Unseen Distributions", ICCV 2021;
- `classes`: the square root of each class's share, whose variance does not depend on the share
  (Hellinger; Rao, "A review of canonical coordinates", Qüestiió 19, 1995).

The distance in one descriptor is the Mahalanobis distance with a diagonal covariance, per
dimension: the root mean square of the differences in standard deviations of the source. A single
frame of the source has about 1, the mean over a drive as the source knows them less.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.prediction import Prediction

Descriptors = dict[str, np.ndarray]

SMALL = (160, 96)
"""Width and height at which a picture is described."""
WINDOW = 50
"""Frames over which a drive is averaged."""
SPREAD_FLOOR = {'image': 0.01, 'features': 1e-3, 'confidence': 0.01, 'classes': 0.02}
"""Least standard deviation: a class the source hardly knows must not outweigh all others."""


def collect(frames: Iterable[tuple[np.ndarray, Prediction]], num_classes: int) -> SourceStatistics:
    """Describe source frames, which training stores in the bundle.

    `frames`: RGB images, uint8 (H, W, 3) at network size, each with the prediction for it; take
    them from many drives, for the distance is counted in how much these differ. Raises DgssError
    for fewer than two.
    """
    described = [describe(image, prediction, num_classes) for image, prediction in frames]
    if len(described) < 2:
        raise DgssError(
            f'{len(described)} source frames have no spread; give at least two, better hundreds.'
        )
    mean, std = {}, {}
    for name in described[0]:
        values = np.array([descriptors[name] for descriptors in described], np.float64)
        mean[name] = _rounded(values.mean(0))
        std[name] = _rounded(values.std(0, ddof=1))
    return SourceStatistics(len(described), mean, std)


def describe(image: np.ndarray, prediction: Prediction, num_classes: int) -> Descriptors:
    """The descriptors of one frame, float64 vectors by name.

    `image`: RGB uint8 (H, W, 3) at network size. Pixels without a label (255) are left out of
    `confidence` and `classes`; `features` is absent where the prediction has no statistics.
    """
    descriptors = {'image': _describe_image(image)}
    if prediction.statistics is not None:
        descriptors['features'] = prediction.statistics.astype(np.float64).ravel()
    step = max(1, round((prediction.mask.size / 40_000) ** 0.5))
    mask = prediction.mask[::step, ::step]
    confidence = prediction.confidence[::step, ::step][mask != IGNORE]
    labelled = max(1, confidence.size)
    descriptors['confidence'] = np.array(
        [confidence.sum() / labelled / 255, (confidence < 128).sum() / labelled]
    )
    counts = np.bincount(mask.ravel(), minlength=num_classes)[:num_classes]
    descriptors['classes'] = np.sqrt(counts / labelled)
    return descriptors


class DomainShiftMonitor:
    """The running distance of the frames of one camera from the source.

    Frames are averaged over all so far, and over about the last `window` once there are more.
    Descriptors that the source or the prediction lacks, or has in another size, are left out.
    """

    def __init__(self, source: SourceStatistics, window: int = WINDOW) -> None:
        self._mean = {name: np.array(values) for name, values in source.mean.items()}
        self._std = {
            name: np.maximum(values, SPREAD_FLOOR[name]) for name, values in source.std.items()
        }
        self._window = window
        self._frames = 0
        self._running: Descriptors = {}

    def update(self, image: np.ndarray, prediction: Prediction) -> dict[str, float]:
        """Take in the next frame, as `describe` does; returns the distance per descriptor."""
        num_classes = len(self._mean.get('classes', ()))
        self._frames = min(self._frames + 1, self._window)
        for name, values in describe(image, prediction, num_classes).items():
            if name in self._mean and values.shape == self._mean[name].shape:
                running = self._running.setdefault(name, np.zeros_like(values))
                running += (values - running) / self._frames
        return {
            name: float(np.sqrt(np.mean(np.square((values - self._mean[name]) / self._std[name]))))
            for name, values in self._running.items()
        }


def _describe_image(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    red, green, blue = cv2.split(small)
    brightness = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    planes = [brightness, red - green, blue - (red + green) / 2]
    edges = np.abs(np.diff(brightness, axis=1)).mean()
    return np.array(
        [plane.mean() for plane in planes]
        + [plane.std() for plane in planes]
        # As a logarithm, because fog and blur divide the contrast of edges.
        + [np.log(edges + 1e-3)],
        np.float64,
    )


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f'{value:.5g}') for value in values)
