"""What video files and video messages share: PyAV, and its pictures as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from dgss_core.errors import DgssError, one_line
from dgss_core.images.encodings import MAX_PIXELS, check_size

DECODER = {'err_detect': 'explode', 'max_pixels': str(MAX_PIXELS)}
"""Damage is an error, not a picture with grey blocks."""


def pyav(what: object) -> Any:
    """The module `av`; DgssError says that `what` needs it, if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise DgssError(
            f'{what} is read through PyAV, which is not installed; run pip install av, or save '
            'the frames as images.'
        ) from error
    return av


def reason_of(error: Exception) -> str:
    """The fault that FFmpeg found, in a few words."""
    return one_line(getattr(error, 'strerror', None) or error, 80)


class ToRgb:
    """Converts the pictures of one stream, frames of PyAV, to RGB uint8 (H, W, 3), upright.

    Raises DgssError for a size as in `check_size`.
    """

    def __init__(self) -> None:
        # That of a frame starts threads of its own.
        self._reformatter = pyav('The video').video.reformatter.VideoReformatter()
        self._rotation: float | None = None
        self._matrix: np.ndarray | None = None

    def __call__(self, decoded: Any) -> np.ndarray:
        check_size(width=decoded.width, height=decoded.height)
        image = self._reformatter.reformat(decoded, format='rgb24').to_ndarray()
        # A frame whose side data are read stays in memory until Python looks for cycles.
        if decoded.rotation != self._rotation:
            self._rotation = decoded.rotation
            matrix = decoded.side_data.get('DISPLAYMATRIX')
            self._matrix = None if matrix is None else np.frombuffer(bytes(matrix), np.int32)
        return image if self._matrix is None else _upright(image, self._matrix)


def _upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror an image by the nine numbers of a display matrix, if it is square."""
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = matrix[:5]
    if not (b or c) and (a < 0 or d < 0):
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    elif not (a or d) and b and c:
        image = image.transpose(1, 0, 2)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
    return np.ascontiguousarray(image)
