"""Write frames as the messages of a camera driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.bags.bag import BagInfo, bag_info
from dgss_core.bags.interfaces import (
    CAMERA_INFO,
    FRAME_ID,
    IMAGE_TOPIC,
    STRING,
    sibling,
    typestore,
)
from dgss_core.bags.messages import (
    cdr,
    header_message,
    image_message,
    jpeg_message,
    text_message,
)
from dgss_core.bags.recorder import BagRecorder
from dgss_core.errors import DgssError
from dgss_core.images.frames import Frame


def write_bag(
    path: str | Path,
    frames: Iterable[Frame],
    *,
    storage: str = 'mcap',
    compressed: bool = False,
    labels: bool = True,
    image_topic: str = IMAGE_TOPIC,
    frame_id: str = FRAME_ID,
    focal: float | None = None,
    overwrite: bool = False,
    inputs: Iterable[Path] = (),
) -> BagInfo:
    """Write a drive as a bag; after an error there is no bag.

    Images are bgr8, or with `compressed` JPEG on `image_topic`/compressed. camera_info is a
    pinhole without distortion; `focal` is in pixels, by default the image width (a field of view
    of 53 degrees). `labels`: also write the labels of frames that have them. `inputs`: where
    the frames come from; these are not overwritten. Raises DgssError as `BagRecorder` does, and
    without frames.
    """
    condition_topic = sibling(image_topic, 'condition')
    condition = None
    with BagRecorder(
        path, storage, latched={condition_topic}, overwrite=overwrite, inputs=inputs
    ) as recorder:
        for frame in frames:
            if frame.condition is not None and frame.condition != condition:
                condition = frame.condition
                text = cdr(text_message(condition))
                recorder.record(condition_topic, STRING, frame.stamp_ns, text)
            for topic, message in _messages_of(
                frame, image_topic, compressed, labels, frame_id, focal
            ):
                recorder.record(topic, message.__msgtype__, frame.stamp_ns, cdr(message))
        if not recorder.count:
            raise DgssError(f'There are no frames to write to {path}.')
    return bag_info(path)


def _messages_of(
    frame: Frame,
    image_topic: str,
    compressed: bool,
    labels: bool,
    frame_id: str,
    focal: float | None,
) -> Iterator[tuple[str, Any]]:
    """Topic and message of everything with the stamp of one frame."""
    header = header_message(frame.stamp_ns, frame_id)
    height, width = frame.image.shape[:2]
    if compressed:
        yield f'{image_topic}/compressed', jpeg_message(header, frame.image)
    else:
        pixels = np.ascontiguousarray(frame.image[..., ::-1])
        yield image_topic, image_message(header, pixels, 'bgr8')
    yield (
        sibling(image_topic, 'camera_info'),
        _camera_info(header, focal or width, width=width, height=height),
    )
    if labels and frame.labels is not None:
        yield sibling(image_topic, 'labels'), image_message(header, frame.labels, 'mono8')


def _camera_info(header: Any, focal: float, *, width: int, height: int) -> Any:
    types = typestore().types
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1], float)
    return types[CAMERA_INFO](
        header=header,
        height=height,
        width=width,
        distortion_model='plumb_bob',
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.hstack([k.reshape(3, 3), np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
    )
