"""From a camera image to a mask: resize to the network, run the backend, resize back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dgss_core.bundle import Bundle
from dgss_core.errors import DgssError
from dgss_core.runtimes import Backend, load_backend


@dataclass(frozen=True)
class Prediction:
    """`mask`: ids of the label set; `confidence`: 255 is certain. Both uint8 (H, W)."""

    mask: np.ndarray
    confidence: np.ndarray


class Segmenter:
    """A bundle loaded into a backend. Call it with one image at a time, from one thread at a time.

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
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DgssError(
                f'An image must be RGB uint8 (H, W, 3), not {image.dtype} {image.shape}.'
            )
        size = (self.bundle.width, self.bundle.height)
        height, width = image.shape[:2]
        # Averaging over the pixels that fall together keeps thin things when the image shrinks.
        shrinks = width > size[0] and height > size[1]
        resized = _resize(image, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        masks, confidences = self.backend.run(np.ascontiguousarray(resized)[None])
        return Prediction(
            _resize(masks[0], (width, height), cv2.INTER_NEAREST),
            _resize(confidences[0], (width, height), cv2.INTER_NEAREST),
        )


def _resize(array: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if array.shape[1::-1] == size:
        return array
    return cv2.resize(array, size, interpolation=interpolation)
