"""Decode the bytes of `sensor_msgs/Image` to RGB arrays.

Takes plain values, for live messages, bags and files alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError, shown

MAX_PIXELS = 1 << 26
"""More pixels than this count as a damaged header."""
MAX_SIDE = 65_500
"""Pixels; the longest side of a JPEG, in which overlays are written."""
DEPTHS = ('16UC1', '32FC1', '64FC1', '16SC1', '32SC1')
"""Encodings whose samples are distances."""
LONGEST_NAME = 32
"""Characters of an encoding that a message shows."""


@dataclass(frozen=True)
class Encoding:
    """The memory layout of one encoding.

    `channels`: samples per pixel within a row; `depth`: bytes per sample; `to_rgb`: the OpenCV
    conversion code or a function, None for RGB; `halved`: the image sides that must be even
    because pixels share their chroma; `chroma`: number of chroma rows below the image, and bytes
    (and step) of each, both in halves of those of the image; `smallest`: least width and height.
    """

    channels: int
    to_rgb: int | Callable[[np.ndarray], np.ndarray] | None
    depth: int = 1
    halved: str = ''
    chroma: tuple[int, int] = (0, 2)
    smallest: int = 1


def _bayer(code: int, depth: int) -> Encoding:
    # Below 3x3 no pixel has all neighbours, and OpenCV returns black.
    return Encoding(1, code, depth, smallest=3)


def _yuv420(code: int, chroma: tuple[int, int]) -> Encoding:
    return Encoding(1, code, halved='width and height', chroma=chroma)


def _nv24_to_rgb(rows: np.ndarray) -> np.ndarray:
    """RGB from Y rows (H, W) over UV rows (2H, W); OpenCV has no code for it."""
    height, width = rows.shape[0] // 3, rows.shape[1]
    # BT.601 in video range, with the weights of OpenCV for NV12.
    to_rgb = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]], np.float32)
    offset = to_rgb @ np.array([[-16], [-128], [-128]], np.float32)
    luma = np.maximum(rows[:height], 16)
    yuv = np.dstack([luma, rows[height:].reshape(height, width, 2)])
    return cv2.transform(yuv, np.hstack([to_rgb, offset]))


_I420 = _yuv420(cv2.COLOR_YUV2RGB_I420, (2, 1))
_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, halved='width')
_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUYV, halved='width')

_PIXELWISE = {cv2.COLOR_BGR2RGB, cv2.COLOR_RGBA2RGB, cv2.COLOR_BGRA2RGB, cv2.COLOR_GRAY2RGB}
"""Codes that convert each pixel independently of its neighbours."""

# OpenCV names a Bayer pattern by its second row, ROS by its first: rggb is BG in OpenCV.
ENCODINGS = {
    'rgb8': Encoding(3, None),
    'bgr8': Encoding(3, cv2.COLOR_BGR2RGB),
    'rgba8': Encoding(4, cv2.COLOR_RGBA2RGB),
    'bgra8': Encoding(4, cv2.COLOR_BGRA2RGB),
    'rgb16': Encoding(3, None, 2),
    'bgr16': Encoding(3, cv2.COLOR_BGR2RGB, 2),
    'rgba16': Encoding(4, cv2.COLOR_RGBA2RGB, 2),
    'bgra16': Encoding(4, cv2.COLOR_BGRA2RGB, 2),
    'mono8': Encoding(1, cv2.COLOR_GRAY2RGB),
    'mono16': Encoding(1, cv2.COLOR_GRAY2RGB, 2),
    '8UC1': Encoding(1, cv2.COLOR_GRAY2RGB),
    '8UC3': Encoding(3, cv2.COLOR_BGR2RGB),
    '8UC4': Encoding(4, cv2.COLOR_BGRA2RGB),
    'bayer_rggb8': _bayer(cv2.COLOR_BayerBG2RGB, 1),
    'bayer_bggr8': _bayer(cv2.COLOR_BayerRG2RGB, 1),
    'bayer_gbrg8': _bayer(cv2.COLOR_BayerGR2RGB, 1),
    'bayer_grbg8': _bayer(cv2.COLOR_BayerGB2RGB, 1),
    'bayer_rggb16': _bayer(cv2.COLOR_BayerBG2RGB, 2),
    'bayer_bggr16': _bayer(cv2.COLOR_BayerRG2RGB, 2),
    'bayer_gbrg16': _bayer(cv2.COLOR_BayerGR2RGB, 2),
    'bayer_grbg16': _bayer(cv2.COLOR_BayerGB2RGB, 2),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': _yuv420(cv2.COLOR_YUV2RGB_NV12, (1, 2)),
    'nv21': _yuv420(cv2.COLOR_YUV2RGB_NV21, (1, 2)),
    'i420': _I420,
    'yuv420': _I420,
    'nv24': Encoding(1, _nv24_to_rgb, chroma=(2, 4)),
}


@dataclass(frozen=True)
class Picture:
    """An image before the conversion to RGB, which is cheaper after a resize, on fewer pixels.

    `pixels`: uint8 (H, W) or (H, W, C), possibly the memory of the message; `to_rgb`: the OpenCV
    code that converts them to RGB, also a part of them or a resized copy; None if they are RGB.
    """

    pixels: np.ndarray
    to_rgb: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def rgb(self) -> np.ndarray:
        """RGB, uint8 (H, W, 3)."""
        return self.pixels if self.to_rgb is None else cv2.cvtColor(self.pixels, self.to_rgb)


def decode_image(
    data: Any, *, width: int, height: int, step: int, encoding: str, is_bigendian: bool = False
) -> np.ndarray:
    """Decode as `open_image` does, to a new array, RGB uint8 (height, width, 3)."""
    picture = open_image(
        data, width=width, height=height, step=step, encoding=encoding, is_bigendian=is_bigendian
    )
    return picture.rgb if picture.rgb.flags.owndata else picture.rgb.copy()


def open_image(
    data: Any, *, width: int, height: int, step: int, encoding: str, is_bigendian: bool = False
) -> Picture:
    """Decode the fields of a `sensor_msgs/Image`.

    `data`: bytes or another buffer (`array('B')`, uint8 array). `step`: bytes from one row to the
    next, at least the bytes of a row. 16-bit samples are scaled to 8 bits; 8UC3 and 8UC4 are BGR
    and YUV is BT.601 in video range, both as in OpenCV.

    Raises DgssError for an unknown encoding, a depth image, a size that is zero, above
    `MAX_PIXELS` or impossible in the encoding, a step that is too small, and data that is shorter
    than the image or a row longer.
    """
    layout = _layout(encoding)
    _check_layout(layout, encoding, width=width, height=height, step=step)
    row_bytes = width * layout.channels * layout.depth
    if step < row_bytes:
        raise DgssError(
            f'The image says step {step}, but a row of {width} {encoding} pixels takes '
            f'{row_bytes} bytes; correct the step at the sender.'
        )
    samples = _samples(
        np.frombuffer(data, np.uint8),
        width=width,
        height=height,
        step=step,
        encoding=encoding,
        is_bigendian=is_bigendian,
    )
    to_rgb = layout.to_rgb
    if layout.depth == 1 and (to_rgb is None or to_rgb in _PIXELWISE):
        return Picture(samples, to_rgb)
    if to_rgb is not None:
        samples = to_rgb(samples) if callable(to_rgb) else cv2.cvtColor(samples, to_rgb)
    return Picture(
        cv2.convertScaleAbs(samples, alpha=255 / 65535) if layout.depth == 2 else samples
    )


def _layout(encoding: str) -> Encoding:
    if encoding in ENCODINGS:
        return ENCODINGS[encoding]
    if encoding in DEPTHS:
        raise no_colours('image', encoding)
    # Another number of bits is another layout, not a misspelling.
    bits = _bits(encoding)
    alike = [name for name, each in ENCODINGS.items() if bits in ('', str(8 * each.depth))]
    near = difflib.get_close_matches(encoding[:LONGEST_NAME], alike, n=1)
    hint = f'; did you mean {near[0]}?' if near else '.'
    raise DgssError(
        f'Unknown image encoding {shown(encoding, LONGEST_NAME)}{hint} '
        f'Supported are {", ".join(ENCODINGS)}.'
    )


def _bits(encoding: str) -> str:
    """The bits per sample that a name tells; empty if it tells none."""
    found = re.search(r'^\d+(?=[USF]C)|(?<=[a-z])(8|10|12|14|16|32|64)$', encoding[:LONGEST_NAME])
    return found.group() if found else ''


def no_colours(what: str, encoding: str) -> DgssError:
    """The error for a depth image. `what`: the kind of image."""
    return DgssError(
        f'The {what} is a depth image ({shown(encoding, LONGEST_NAME)}), which has no colours; '
        'name the topic of a camera.'
    )


def check_size(*, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raise DgssError for a size in pixels that no image has, before memory is taken for it."""
    if width < 1 or height < 1:
        raise DgssError(
            f'The image says it is {width}x{height}, which is no size; its header is damaged, '
            'save or copy it again.'
        )
    if width > MAX_SIDE or height > MAX_SIDE or width * height > max_pixels:
        raise DgssError(
            f'The image says it is {width}x{height}; at most {MAX_SIDE} pixels a side and '
            f'{max_pixels} in all are accepted. Crop or scale it; if that is not its size, its '
            'header is damaged.'
        )


def _check_layout(layout: Encoding, encoding: str, *, width: int, height: int, step: int) -> None:
    if width < layout.smallest or height < layout.smallest:
        raise DgssError(
            f'The image says it is {width}x{height}; {encoding} needs at least '
            f'{layout.smallest}x{layout.smallest} pixels.'
        )
    check_size(width=width, height=height)
    if (width % 2 and 'width' in layout.halved) or (height % 2 and 'height' in layout.halved):
        raise DgssError(
            f'The image says it is {width}x{height}; {encoding} needs an even {layout.halved}.'
        )
    if step % 2 and layout.chroma[1] == 1:
        raise DgssError(f'The image says step {step}; {encoding} needs an even step.')


def _samples(
    buffer: np.ndarray, *, width: int, height: int, step: int, encoding: str, is_bigendian: bool
) -> np.ndarray:
    """The samples in `buffer`, (rows, width[, channels]), without padding, in native order."""
    layout = ENCODINGS[encoding]
    rows, halves = layout.chroma
    rows, row_bytes, row_step = height * rows // 2, width * halves // 2, step * halves // 2
    # The padding of the last row may be left out.
    needed = step * (height - 1) + width * layout.channels * layout.depth
    if rows:
        needed = step * height + row_step * (rows - 1) + row_bytes
    if buffer.size < needed:
        raise DgssError(
            f'The image data is truncated: {buffer.size} bytes, and {width}x{height} {encoding} '
            f'with step {step} needs {needed}; find the sender or transport that cuts messages.'
        )
    if buffer.size >= (whole := step * height + row_step * rows) + step:
        raise DgssError(
            f'The image data has {buffer.size} bytes, but {height} rows of step {step} are '
            f'{whole}; correct the step at the sender.'
        )
    shape: tuple[int, ...] = (height, width)
    strides: tuple[int, ...] = (step, layout.channels * layout.depth)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, layout.depth)
    if layout.depth == 2:
        order = '>u2' if is_bigendian else '<u2'
        return np.ndarray(shape, order, buffer.data, strides=strides).astype(np.uint16)
    picture = np.ndarray(shape, np.uint8, buffer.data, strides=strides)
    if not rows:
        return picture
    chroma = np.ndarray(
        (rows, row_bytes), np.uint8, buffer.data, step * height, strides=(row_step, 1)
    )
    return np.concatenate([picture.ravel(), chroma.ravel()]).reshape(-1, width)
