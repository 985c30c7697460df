"""The bytes of `sensor_msgs/Image` and `sensor_msgs/CompressedImage` to RGB arrays.

Works on plain values, so that it serves live messages, bags and files alike.
"""

from __future__ import annotations

import difflib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import DgssError

MAX_PIXELS = 1 << 26
"""An image that claims more pixels than this is taken for a damaged header."""


@dataclass(frozen=True)
class Encoding:
    """How one encoding lies in memory.

    `channels`: samples per pixel within a row; `depth`: bytes per sample; `to_rgb`: the OpenCV
    conversion code or a function, None for RGB itself; `halved`: which image sides have to be
    even because pixels share their chroma; `chroma`: rows below the picture's own and bytes in
    each (and its step), in halves of those of the picture; `smallest`: least width and height.
    """

    channels: int
    to_rgb: int | Callable[[np.ndarray], np.ndarray] | None
    depth: int = 1
    halved: str = ''
    chroma: tuple[int, int] = (0, 2)
    smallest: int = 1


def _bayer(code: int, depth: int) -> Encoding:
    # Below 3x3 there is no full neighbourhood, and OpenCV would answer with black.
    return Encoding(1, code, depth, smallest=3)


def _yuv420(code: int, chroma: tuple[int, int]) -> Encoding:
    return Encoding(1, code, halved='width and height', chroma=chroma)


def _nv24_to_rgb(rows: np.ndarray) -> np.ndarray:
    """Y rows (H, W) over UV rows (2H, W) to RGB; OpenCV has no code for it."""
    height, width = rows.shape[0] // 3, rows.shape[1]
    # BT.601 in video range, the weights that OpenCV has for NV12.
    to_rgb = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]], np.float32)
    offset = to_rgb @ np.array([[-16], [-128], [-128]], np.float32)
    luma = np.maximum(rows[:height], 16)
    yuv = np.dstack([luma, rows[height:].reshape(height, width, 2)])
    return cv2.transform(yuv, np.hstack([to_rgb, offset]))


_I420 = _yuv420(cv2.COLOR_YUV2RGB_I420, (2, 1))
_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, halved='width')
_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUYV, halved='width')

# OpenCV names a Bayer pattern by its second row, ROS by its first: rggb is BG there.
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


def decode_image(
    data: Any, *, width: int, height: int, step: int, encoding: str, is_bigendian: bool = False
) -> np.ndarray:
    """Decode the fields of a `sensor_msgs/Image` to RGB, uint8 (height, width, 3), a fresh array.

    `data`: bytes or anything with their buffer (`array('B')`, uint8 array). `step`: bytes from
    one row to the next, of any size that holds a row. 16-bit samples are scaled to 8 bits; 8UC3
    and 8UC4 are taken for BGR, as OpenCV means them; YUV is BT.601 in video range, as in OpenCV.
    Raises DgssError for an unknown encoding, a size that is zero, absurd or impossible in the
    encoding, a step too small, and data too short.
    """
    layout = _layout(encoding)
    _check_size(width, height, step, layout, encoding)
    row_bytes = width * layout.channels * layout.depth
    if step < row_bytes:
        raise DgssError(
            f'The image says step {step}, but a row of {width} {encoding} pixels takes '
            f'{row_bytes} bytes; correct the step at the sender.'
        )
    samples = _samples(np.frombuffer(data, np.uint8), width, height, step, encoding, is_bigendian)
    if isinstance(layout.to_rgb, int):
        samples = cv2.cvtColor(samples, layout.to_rgb)
    elif layout.to_rgb is not None:
        samples = layout.to_rgb(samples)
    elif layout.depth == 1:
        samples = samples.copy()
    return cv2.convertScaleAbs(samples, alpha=255 / 65535) if layout.depth == 2 else samples


def decode_compressed(data: Any, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a JPEG, PNG, WebP or BMP file in memory to RGB, uint8 (H, W, 3).

    The size in the header is checked against `max_pixels` before anything is decoded. Raises
    DgssError for another format, a size that is zero or too large, and data that is damaged or
    cut short.
    """
    buffer = np.frombuffer(data, np.uint8)
    content = buffer.data
    width, height = _compressed_size(content)
    if not 0 < width * height <= max_pixels:
        raise DgssError(
            f'The compressed image says it is {width}x{height}; sizes from 1 to {max_pixels} '
            'pixels in all are accepted.'
        )
    image = None
    if not _is_cut_jpeg(content):
        try:
            image = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
    if image is None:
        raise DgssError(
            f'The compressed image ({buffer.size} bytes) is damaged or cut short; '
            'send or save it again.'
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Encode RGB, uint8 (H, W, 3), as JPEG of `quality` 0 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode RGB, uint8 (H, W, 3), or a mask, uint8 (H, W), as PNG."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode('.png', bgr)[1].tobytes()


def _layout(encoding: str) -> Encoding:
    if encoding in ENCODINGS:
        return ENCODINGS[encoding]
    near = difflib.get_close_matches(encoding, ENCODINGS, n=1)
    hint = f'did you mean {near[0]}? ' if near else ''
    raise DgssError(
        f'Unknown image encoding {encoding!r}; {hint}Supported are {", ".join(ENCODINGS)}.'
    )


def _check_size(width: int, height: int, step: int, layout: Encoding, encoding: str) -> None:
    if width < layout.smallest or height < layout.smallest:
        raise DgssError(
            f'The image says it is {width}x{height}; {encoding} needs at least '
            f'{layout.smallest}x{layout.smallest} pixels.'
        )
    if width * height > MAX_PIXELS:
        raise DgssError(
            f'The image says it is {width}x{height}; more than {MAX_PIXELS} pixels are taken for '
            'a damaged header.'
        )
    if (width % 2 and 'width' in layout.halved) or (height % 2 and 'height' in layout.halved):
        raise DgssError(
            f'The image says it is {width}x{height}; {encoding} needs an even {layout.halved}.'
        )
    if step % 2 and layout.chroma[1] == 1:
        raise DgssError(f'The image says step {step}; {encoding} needs an even step.')


def _samples(
    buffer: np.ndarray, width: int, height: int, step: int, encoding: str, is_bigendian: bool
) -> np.ndarray:
    """The picture in `buffer`, (rows, width[, channels]), without padding and in native order."""
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
            f'with step {step} needs {needed}; look for a sender or transport that cuts messages.'
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


def _compressed_size(content: memoryview) -> tuple[int, int]:
    """Width and height from the header of an image file in memory, without decoding it."""
    head = bytes(content[:32])
    try:
        if head.startswith(b'\xff\xd8'):
            return _jpeg_size(content)
        if head.startswith(b'\x89PNG\r\n\x1a\n'):
            return struct.unpack_from('>II', head, 16)
        if head.startswith(b'BM'):
            width, height = struct.unpack_from('<ii', head, 18)
            return abs(width), abs(height)
        if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
            return _webp_size(head)
    except struct.error as error:
        raise DgssError(
            f'The compressed image ends within its header ({len(content)} bytes); '
            'send or save it again.'
        ) from error
    raise DgssError(
        f'The compressed image starts with {head[:8].hex(" ") or "nothing"} and is neither JPEG, '
        'PNG, WebP nor BMP; send one of these.'
    )


def _jpeg_size(content: memoryview) -> tuple[int, int]:
    offset = 2
    while True:
        marker, length = struct.unpack_from('>HH', content, offset)
        # SOF0 to SOF15 hold the size; C4, C8 and CC in their midst are tables.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from('>HH', content, offset + 5)
            return width, height
        # 0xFF may be repeated before a marker; 0xFFDA would be pixels before any size.
        if marker >> 8 != 0xFF or marker == 0xFFDA:
            return 0, 0
        offset += 1 if marker == 0xFFFF else 2 + length


def _webp_size(head: bytes) -> tuple[int, int]:
    chunk = head[12:16]
    if chunk == b'VP8X':
        low_w, high_w, low_h, high_h = struct.unpack_from('<HBHB', head, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if chunk == b'VP8L':
        (bits,) = struct.unpack_from('<I', head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from('<HH', head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _is_cut_jpeg(content: memoryview) -> bool:
    """Whether the data is a JPEG without an end marker after its picture data.

    Older OpenCV decodes such a file to a picture that turns grey half way down.
    """
    data = bytes(content)
    if not data.startswith(b'\xff\xd8'):
        return False
    # A thumbnail has an end marker of its own, but before the last start of scan.
    return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
