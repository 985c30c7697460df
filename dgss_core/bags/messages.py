"""Messages of standard types, made of pixels, texts and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dgss_core.bags.interfaces import COMPRESSED, FLOAT32, IMAGE, STRING, typestore
from dgss_core.images.compressed import encode_jpeg, encode_png


def header_message(stamp_ns: int, frame_id: str) -> Any:
    types = typestore().types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    return types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)


def image_message(header: Any, pixels: np.ndarray, encoding: str) -> Any:
    """`pixels`: uint8 (H, W) or (H, W, C), as `encoding` says."""
    return typestore().types[IMAGE](
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].nbytes,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


def jpeg_message(header: Any, image: np.ndarray) -> Any:
    """`image`: RGB uint8 (H, W, 3)."""
    return _compressed(header, 'bgr8; jpeg compressed bgr8', encode_jpeg(image))


def png_message(header: Any, image: np.ndarray) -> Any:
    """`image`: RGB uint8 (H, W, 3). PNG keeps flat colours exactly."""
    return _compressed(header, 'bgr8; png compressed bgr8', encode_png(image))


def text_message(text: str) -> Any:
    return typestore().types[STRING](data=text)


def number_message(value: float) -> Any:
    return typestore().types[FLOAT32](data=value)


def cdr(message: Any) -> memoryview:
    """A message as it is recorded."""
    return typestore().serialize_cdr(message, message.__msgtype__)


def _compressed(header: Any, kind: str, data: bytes) -> Any:
    return typestore().types[COMPRESSED](header, kind, np.frombuffer(data, np.uint8))
