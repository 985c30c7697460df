"""The data of one image in the node: the prepared frame, the answer, and what is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dgss_core.images.encodings import Picture
from dgss_core.images.view import View
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.prediction import Prediction
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.health.counters import Stopwatch
from dgss_ros.node.messages import to_picture
from dgss_ros.node.outputs import Canvas


@dataclass(frozen=True)
class CameraFrame:
    """An image that is ready for the network.

    `picture`: the pixels of the message. `prepared`: the view of them, upright, RGB uint8
    (H, W, 3) at network size.
    """

    header: Header
    picture: Picture
    view: View
    prepared: np.ndarray
    stopwatch: Stopwatch

    @classmethod
    def prepare(
        cls,
        message: Image | CompressedImage,
        view: View,
        segmenter: Segmenter,
        stopwatch: Stopwatch,
    ) -> CameraFrame:
        """Decode an image and resize its view to the network.

        Raises DgssError for an unusable image.
        """
        picture = to_picture(message)
        prepared = segmenter.prepare(view.apply(picture.pixels), picture.to_rgb)
        stopwatch.lap('preparation')
        return cls(message.header, picture, view, prepared, stopwatch)

    def canvas(self, as_camera: bool) -> Canvas:
        """Return a canvas in the orientation of the camera's image.

        `as_camera`: at the size of the image; otherwise at network size, for the region alone.
        """
        if as_camera:
            return Canvas(self.picture.size, lambda: self.picture.rgb, self.view.restore)
        turn_back = self.view.turn_back
        picture = turn_back(self.prepared)
        return Canvas(
            picture.shape[1::-1],
            lambda: picture,
            lambda plane, _, out: np.copyto(out, turn_back(plane)),
        )


class Answer(NamedTuple):
    """A frame, its prediction at network size, and the segmenter that made it."""

    frame: CameraFrame
    prediction: Prediction
    segmenter: Segmenter

    def saved(self) -> SavedFrame:
        """Return the answer at the size of the camera's image."""
        image = self.frame.picture.rgb
        mask = np.empty(image.shape[:2], np.uint8)
        self.frame.view.restore(self.prediction.mask, IGNORE, mask)
        segmenter = self.segmenter
        return SavedFrame(self.frame.header, image, mask, segmenter.labels, segmenter.identity)


class SavedFrame(NamedTuple):
    """An image, RGB uint8 (H, W, 3), its mask, uint8 (H, W), and the bundle that made the mask."""

    header: Header
    image: np.ndarray
    mask: np.ndarray
    labels: LabelSet
    bundle: str
