"""The distance of the frames of a drive from the frames that the network was trained on.

A frame has four descriptors, of the image and of the prediction:

- `image`: mean and standard deviation of brightness and of two opponent colours, and sharpness;
- `features`: channel means and standard deviations of an early feature map, if the network
  returns them. They represent the style of an image and thus its domain: Huang and Belongie,
  "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017, sec. 5;
- `confidence`: its mean and the share of pixels below one half. The mean follows the accuracy
  under shift: Guillory et al., "Predicting with Confidence on Unseen Distributions", ICCV 2021;
- `classes`: the square root of each class's share. Its variance does not depend on the share
  (Hellinger; Rao, "A review of canonical coordinates", Qüestiió 19, 1995).

The distance in one descriptor is the Mahalanobis distance with a diagonal covariance, per
dimension: the root mean square of the differences in standard deviations of the source. It is
about 1 for a single frame of the source, and less for the mean over a drive like the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.prediction import Prediction

Descriptors = dict[str, np.ndarray]

SMALL = (160, 96)
"""Width and height in pixels at which an image is described."""
WINDOW = 50
"""Frames in the running mean of a drive."""
SPREAD_FLOOR = {'image': 0.01, 'features': 1e-3, 'confidence': 0.01, 'classes': 0.02}
"""Least standard deviation, so that a class that is rare in the source does not dominate."""


def collect(frames: Iterable[tuple[np.ndarray, Prediction]], num_classes: int) -> SourceStatistics:
    """Compute the statistics of source frames, for the manifest of a bundle.

    `frames`: RGB images, uint8 (H, W, 3) at network size, each with its prediction. Take them from
    many drives, because their standard deviation is the unit of the distance. Raises DgssError
    for fewer than two frames.
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

    `image`: RGB uint8 (H, W, 3) at network size. `confidence` and `classes` ignore pixels without
    a label (255). `features` is missing if the prediction has no statistics.
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

    The mean is over all frames so far, or about the last `window` if there are more. A descriptor
    is ignored if the source or the prediction lacks it, or if their sizes differ.
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
        """Add the next frame, arguments as in `describe`; returns the distance by descriptor."""
        return self.add(describe(image, prediction, len(self._mean.get('classes', ()))))

    def add(self, descriptors: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Add the next frame by what `describe` returned for it; returns as `update` does."""
        self._frames = min(self._frames + 1, self._window)
        for name, values in descriptors.items():
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
        # A logarithm, because fog and blur divide the contrast of edges.
        + [np.log(edges + 1e-3)],
        np.float64,
    )


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f'{value:.5g}') for value in values)
