"""From camera images to masks: resize to the network, run the backend, resize back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE
from dgss_core.runtime.backend import (
    Backend,
    NamingBackend,
    Report,
    closed_error,
    run_network,
)
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import CONFIDENCE, MASK, STATISTICS, UNCERTAINTY, Bundle
from dgss_core.runtime.prediction import Prediction

ALONE = 2.5
"""A single side is halved above this ratio. The sides of a 4:3 or 16:9 image differ too little to
reach it at any size, so that usual cameras keep the exact input the networks were verified on."""


class Segmenter:
    """A bundle loaded into a backend. Several threads may call it at once.

        with Segmenter(open_bundle()) as segmenter:
            mask = segmenter(image).mask

    `backend`: the name of a backend, or a loaded one; the segmenter closes it either way.
    `threads`, `cache_dir`, `allow_unverified`, `report` and `lanes` are options of `load_backend`;
    a loaded backend ignores them. Raises DgssError as `load_backend` does. After `close` every
    prediction raises RuntimeError.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str | Backend = 'auto',
        threads: int = 0,
        *,
        cache_dir: Path | None = None,
        allow_unverified: bool = False,
        report: Report | None = None,
        lanes: int = 1,
    ) -> None:
        self.bundle = bundle
        self.labels = bundle.labels
        if isinstance(backend, str):
            backend = load_backend(
                bundle,
                backend,
                threads,
                cache_dir=cache_dir,
                allow_unverified=allow_unverified,
                report=report,
                lanes=lanes,
            )
        self.backend, self.lanes = backend, lanes
        self._is_closed = False

    @property
    def identity(self) -> str:
        """What answers: the bundle's identity, or the text of a backend that runs another."""
        backend = self.backend
        return backend.network if isinstance(backend, NamingBackend) else self.bundle.identity

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the network and its memory. Closing twice does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self.backend.close()

    def __call__(self, image: np.ndarray) -> Prediction:
        """Segment an RGB image, uint8 (H, W, 3) of any size; the result has the same H and W.

        Raises DgssError for any other array.
        """
        return self.predict([image])[0]

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Segment RGB images, uint8 (H, W, 3) of any sizes, in one call of the network.

        Each result has the size of its image. Raises DgssError for any other array.
        """
        predictions = self.predict_prepared([self.prepare(image) for image in images])
        return [
            prediction.resized(height=image.shape[0], width=image.shape[1])
            for image, prediction in zip(images, predictions, strict=True)
        ]

    def prepare(self, image: np.ndarray, to_rgb: int | None = None) -> np.ndarray:
        """Resize an image to the network; returns RGB uint8 (H, W, 3), C-contiguous.

        `to_rgb`: OpenCV code that converts an image with other channels to RGB. The conversion
        runs after the resize, on fewer pixels. Raises DgssError for an array that is no image.
        """
        rgb = image.ndim == 3 and image.shape[2] == 3
        if image.dtype != np.uint8 or not (rgb or to_rgb is not None) or image.size == 0:
            raise DgssError(
                f'An image must be RGB uint8 (H, W, 3), not {image.dtype} {image.shape}.'
            )
        resized = resize_to_network(image, height=self.bundle.height, width=self.bundle.width)
        if to_rgb is not None:
            return cv2.cvtColor(resized, to_rgb)
        return np.ascontiguousarray(resized)

    def predict_prepared(self, prepared: Sequence[np.ndarray]) -> list[Prediction]:
        """Run the network once on images from `prepare`; the results have network size.

        Raises DgssError for an array that is not RGB uint8 at network size, for a network that
        fails, and for a mask with an id that the label set does not have.
        """
        if self._is_closed:
            raise closed_error(f'The segmenter of {self.bundle.identity}')
        for image in prepared:
            self._check_prepared(image)
        if len(prepared) == 0:
            return []
        # np.stack copies; a single image needs no copy.
        stacked = prepared[0][np.newaxis] if len(prepared) == 1 else np.stack(prepared)
        tensors = run_network(self.backend, stacked)
        self._check_ids(tensors[MASK])
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

    def timed(self, prepared: np.ndarray) -> tuple[Prediction, float]:
        """The answer for one image from `prepare`, and the seconds that it took.

        Where `lanes` calls run at once, this is the share of one of them: what a frame costs.
        """
        started = time.perf_counter()
        answer = self.predict_prepared([prepared])[0]
        return answer, (time.perf_counter() - started) / self.lanes

    def _check_prepared(self, image: object) -> None:
        shape = (self.bundle.height, self.bundle.width, 3)
        found = type(image).__name__
        if isinstance(image, np.ndarray):
            if image.dtype == np.uint8 and image.shape == shape:
                return
            found = f'{image.dtype} {image.shape}'
        raise DgssError(
            f'A prepared image must be RGB uint8 {shape}, not {found}; '
            'use Segmenter.prepare, or predict for images of any size.'
        )

    def _check_ids(self, masks: np.ndarray) -> None:
        # Every mask is checked, because a network may be wrong for some images only, and the file
        # of a mask does not show it. This takes 5 us for 1024x512 pixels, and 25 us where some
        # are `IGNORE`, which is below a hundredth of the fastest network.
        if self.labels.foreign_id(masks) is None:
            return
        raise DgssError(
            f'{self.identity} gives the id {masks[masks != IGNORE].max()} in '
            f'{self.backend.identity}, and its label set {self.labels.name} ends with '
            f'{len(self.labels) - 1}; try another backend, or export the bundle again.'
        )


def resize_to_network(image: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Resize an image (H, W[, C]) to the size of a network: by areas where it is far larger."""
    # Linear interpolation reads every pixel only up to a factor of two; halving by areas before
    # it keeps thin objects. INTER_AREA for the whole way takes six times as long and gives no
    # better masks.
    while image.shape[1] > 2 * width and image.shape[0] > 2 * height:
        image = _resize(image, (image.shape[1] // 2, image.shape[0] // 2), cv2.INTER_AREA)
    while (size := _halved_alone(image, width, height)) != image.shape[1::-1]:
        image = _resize(image, size, cv2.INTER_AREA)
    return _resize(image, (width, height), cv2.INTER_LINEAR)


def _halved_alone(image: np.ndarray, width: int, height: int) -> tuple[int, int]:
    """(width, height) of the image after halving each side that is much too long by itself."""
    across, down = image.shape[1], image.shape[0]
    return (
        across // 2 if across > ALONE * width else across,
        down // 2 if down > ALONE * height else down,
    )


def _resize(array: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if array.shape[1::-1] == size:
        return array
    return cv2.resize(array, size, interpolation=interpolation)
