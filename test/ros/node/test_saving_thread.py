"""Saving frames runs beside the executor."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S
from rclpy.node import Node
from std_msgs.msg import Header

from dgss_core.labels import LabelSet
from dgss_ros.client.session import wait_until
from dgss_ros.node.frames import SavedFrame
from dgss_ros.node.services import save_frames

pytestmark = pytest.mark.ros


class LastAnswer:
    """Notes the thread on which its pictures are made."""

    thread = ''

    def saved(self) -> SavedFrame:
        self.thread = threading.current_thread().name
        pixels = np.zeros((48, 64, 3), np.uint8)
        labels = LabelSet.load('cityscapes19')
        return SavedFrame(Header(), pixels, pixels[..., 0].copy(), labels, 'probe')


def test_the_pictures_are_made_on_the_thread_that_writes_them(ros: Node, tmp_path: Path) -> None:
    answer = LastAnswer()
    task = ros.executor.create_task(save_frames, ros, {'front': answer, 'rear': None}, tmp_path)
    assert wait_until(task.done, TIMEOUT_S)
    assert len(task.result()) == 4
    assert answer.thread == 'service'
