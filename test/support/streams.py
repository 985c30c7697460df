"""Images sent to a node at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from camera import Camera, flat

from dgss_ros.node.messages import stamp_ns


@contextmanager
def images_at(camera: Camera, rate: float, image: np.ndarray | None = None) -> Iterator[list[int]]:
    """Send images at `rate` per second, on a thread, during the block; yields their stamps.

    `image`: the image to send; None for images of one colour each, in turn.
    """
    stamps: list[int] = []
    done = threading.Event()

    def send() -> None:
        due = time.monotonic()
        while not done.is_set():
            picture = flat(len(stamps) % 256) if image is None else image
            stamps.append(stamp_ns(camera.send(picture).header))
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield stamps
    finally:
        done.set()
        thread.join()
