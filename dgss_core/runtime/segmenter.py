"""From camera images to masks: resize to the network, run the backend, resize back."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import Backend
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import CONFIDENCE, MASK, STATISTICS, UNCERTAINTY, Bundle
from dgss_core.runtime.prediction import Prediction


class Segmenter:
    """A bundle loaded into a backend; may be called from several threads at once.

    `backend`: the name of a backend, or a loaded one. Raises DgssError as `load_backend` does.
    """

    def __init__(self, bundle: Bundle, backend: str | Backend = 'auto', threads: int = 0) -> None:
        self.bundle = bundle
        self.labels = bundle.labels
        self.backend = (
            load_backend(bundle, backend, threads) if isinstance(backend, str) else backend
        )

    def __call__(self, image: np.ndarray) -> Prediction:
        """Segment an RGB image, uint8 (H, W, 3) of any size; the result has the same H and W.

        Raises DgssError for an array of another kind.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Segment several images, of any sizes, in one call of the network."""
        predictions = self.predict([self.prepare(image) for image in images])
        return [
            prediction.resized(image.shape[1], image.shape[0])
            for image, prediction in zip(images, predictions, strict=True)
        ]

    def prepare(self, image: np.ndarray, to_rgb: int | None = None) -> np.ndarray:
        """Resize an image to the network, C-contiguous; raises DgssError as a call does.

        `to_rgb`: the OpenCV code that makes an image with other channels RGB. They are put in
        order last, when they are few.
        """
        rgb = image.ndim == 3 and image.shape[2] == 3
        if image.dtype != np.uint8 or not (rgb or to_rgb is not None) or image.size == 0:
            raise DgssError(
                f'An image must be RGB uint8 (H, W, 3), not {image.dtype} {image.shape}.'
            )
        fitted = fit(image, self.bundle.width, self.bundle.height)
        if to_rgb is not None:
            return cv2.cvtColor(fitted, to_rgb)
        return np.ascontiguousarray(fitted)

    def predict(self, prepared: Sequence[np.ndarray]) -> list[Prediction]:
        """Run the network once on images that `prepare` gave; the results have network size."""
        single = len(prepared) == 1  # needs no copy
        tensors = self.backend.run(prepared[0][np.newaxis] if single else np.stack(prepared))
        names = {
            'mask': MASK,
            'confidence': CONFIDENCE,
            'uncertainty': UNCERTAINTY,
            'statistics': STATISTICS,
        }
        found = {field: tensors[name] for field, name in names.items() if name in tensors}
        return [
            Prediction(**{field: tensor[index] for field, tensor in found.items()})
            for index in range(len(prepared))
        ]


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image as a network was trained to see it."""
    # Interpolation sees every pixel of an image up to twice as large; before that, halving keeps
    # thin things. Averaging over areas of other sizes gives no better masks in six times as long.
    while image.shape[1] > 2 * width and image.shape[0] > 2 * height:
        image = _resize(image, (image.shape[1] // 2, image.shape[0] // 2), cv2.INTER_AREA)
    return _resize(image, (width, height), cv2.INTER_LINEAR)


def _resize(array: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if array.shape[1::-1] == size:
        return array
    return cv2.resize(array, size, interpolation=interpolation)
