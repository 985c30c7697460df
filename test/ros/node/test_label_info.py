"""`vision_msgs/LabelInfo` beside each mask; skipped without vision_msgs, which has no wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, flat
from rclpy.node import Node
from services import ParameterClient

from dgss_core.labels import LabelSet
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_mask
from dgss_ros.node.qos import LATCHED_QOS

vision_msgs = pytest.importorskip(
    'vision_msgs.msg', reason='needs vision_msgs, which has no wheel on PyPI: source ROS 2'
)
pytestmark = pytest.mark.ros
NAMES = LabelSet.load('cityscapes19').names


def latest(ros: Node, *topics: str) -> dict[str, list[Any]]:
    """What has been published on `topics` before, and is from now on."""
    heard: dict[str, list[Any]] = {topic: [] for topic in topics}
    for topic, messages in heard.items():
        ros.create_subscription(vision_msgs.LabelInfo, topic, messages.append, LATCHED_QOS)
    assert wait_until(lambda: all(heard.values()), TIMEOUT_S)
    return heard


def test_every_mask_has_label_info_beside_it(start_node, ros: Node, probe_bundle: Path) -> None:
    node = start_node(
        *('-r', '__ns:=/veh', '-p', 'cameras:=[front, rear]'),
        bundle=probe_bundle,
        autostart=True,
        confidence_threshold=0.25,
    )
    topics = [f'/veh/dgss/{name}/label_info' for name in ('front', 'rear')]
    for (message,) in latest(ros, *topics).values():
        found = [(entry.class_id, entry.class_name) for entry in message.class_map]
        assert found == [*enumerate(NAMES)]
        assert message.threshold == 0.25
    assert node.end(2) == 0


def test_the_threshold_is_told_before_the_first_mask_that_it_applies_to(
    start_node, ros: Node, probe_bundle: Path, camera: Camera
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    (messages,) = latest(ros, '/dgss/label_info').values()
    camera.subscribe('mask')
    camera.connect()
    assert np.unique(to_mask(camera.answer(flat(48, 100))['mask'])).tolist() == [3]
    assert [message.threshold for message in messages] == [0.0]
    assert ParameterClient(ros).set('confidence_threshold', 0.5) == ''
    assert np.unique(to_mask(camera.answer(flat(48, 100))['mask'])).tolist() == [255]
    assert wait_until(lambda: len(messages) == 2, TIMEOUT_S)
    assert messages[-1].threshold == 0.5
    camera.answer(flat(48, 200))
    assert len(messages) == 2
