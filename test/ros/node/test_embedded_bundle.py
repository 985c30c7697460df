"""The embedded bundle in the node."""

from __future__ import annotations

import numpy as np
import pytest
from camera import Camera
from rclpy.node import Node

from dgss_core.confusion import ConfusionMatrix
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import CONDITIONS, StreetDrive
from dgss_ros.node.messages import to_mask

pytestmark = pytest.mark.ros

FLOOR = 0.30
"""Random weights stay below 0.05; one class for all pixels, the most frequent, stays below 0.1."""


def test_masks_of_the_synthetic_street_are_right(start_node, ros: Node, camera: Camera) -> None:
    start_node(autostart=True)
    camera.subscribe('mask', 'confidence')
    camera.connect()
    labels = open_bundle().labels
    matrix = ConfusionMatrix(labels)
    for seed in (101, 102):
        drive = StreetDrive(seed)
        for index in (0, 40, 80):
            frame = drive.frame(index)
            answers = camera.answer(frame.image)
            mask = to_mask(answers['mask'])
            assert mask.shape == frame.labels.shape
            assert set(np.unique(mask)) <= {*labels.ids, 255}
            matrix.add(mask, frame.labels)
    present = matrix.counts.sum(1) > 0
    assert matrix.iou()[present].mean() > FLOOR
    constant = ConfusionMatrix(labels)
    constant.add(np.zeros_like(frame.labels), frame.labels)
    assert constant.miou < 0.1


def test_the_node_and_the_library_give_equal_masks(start_node, camera: Camera) -> None:
    start_node(backend='auto', autostart=True)
    camera.subscribe('mask', 'confidence')
    camera.connect()
    segmenter = Segmenter(open_bundle())
    for condition in CONDITIONS:
        image = StreetDrive(7, condition, width=320, height=180).frame(0).image
        expected = segmenter(image)
        bgr = np.ascontiguousarray(image[..., ::-1])
        for encoding, sent in (('rgb8', image), ('bgr8', bgr)):
            answers = camera.answer(sent, encoding)
            assert np.array_equal(to_mask(answers['mask']), expected.mask)
            assert np.array_equal(to_mask(answers['confidence']), expected.confidence)
