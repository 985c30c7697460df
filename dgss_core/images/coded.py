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
            f'{what} is read through PyAV, which is not installed; install it with pip install '
            'av, or save the frames as images.'
        ) from error
    return av


def reason_of(error: Exception) -> str:
    """The fault that FFmpeg found, in a few words."""
    return one_line(getattr(error, 'strerror', None) or error, 80)


def to_rgb(decoded: Any) -> np.ndarray:
    """A frame of PyAV as RGB uint8 (H, W, 3), upright; DgssError for a size as in `check_size`."""
    check_size(width=decoded.width, height=decoded.height)
    image = decoded.to_ndarray(format='rgb24')
    matrix = decoded.side_data.get('DISPLAYMATRIX')
    return image if matrix is None else _upright(image, np.frombuffer(matrix, np.int32))


def _upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror an image by the nine numbers of a display matrix, if it is square."""
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = matrix[:5]
    if not (b or c) and (a < 0 or d < 0):
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    elif not (a or d) and b and c:
        image = image.transpose(1, 0, 2)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
    return np.ascontiguousarray(image)
