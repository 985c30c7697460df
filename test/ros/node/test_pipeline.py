"""The network runs while other images are prepared and published."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from rclpy.node import Node
from streams import images_at

from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import stamp_ns

pytestmark = pytest.mark.ros


def test_masks_leave_in_order_while_the_next_image_is_in_work(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(*('-p', 'backend:=null:10'), bundle=probe_bundle, self_test=False, autostart=True)
    camera.subscribe('mask', 'overlay')
    picture = flat(1, size=(1280, 720))  # slow to paint
    camera.connect(picture)
    with images_at(camera, 60.0, picture):
        time.sleep(2.0)
    values = diagnostics.wait(
        'frames', lambda _, v: int(v['received']) == int(v['processed']) + int(v['dropped'])
    )
    assert int(values['failed']) == 0
    for name in ('mask', 'overlay'):
        stamps = [stamp_ns(message.header) for message in camera.received[name]]
        assert len(stamps) > 20
        assert stamps == sorted(set(stamps))


def test_a_frame_is_prepared_while_the_network_is_busy_unless_a_newer_one_comes(
    start_node, ros: Node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    start_node(
        *('-p', 'cameras:=[front, rear]', '-p', 'backend:=null:300'),
        bundle=probe_bundle,
        self_test=False,
        autostart=True,
    )
    front, rear = (
        Camera(ros, f'/dgss/{name}/image', f'/dgss/{name}') for name in ('front', 'rear')
    )
    for camera in (front, rear):
        camera.subscribe('mask')
        camera.connect()
    for _ in range(6):
        front.answer(flat(1))
        front.send(flat(1))
        time.sleep(0.05)
        rear.answer(flat(1))
    # They waited for the network, but not for their preparation.
    values = diagnostics.wait(
        'rear frames', lambda _, v: float(v.get('inference_ms_p50', 0)) > 400
    )
    assert float(values['waiting_ms_p50']) < 150
    front.send(flat(2))
    time.sleep(0.05)
    sent = []
    for red in range(3):
        sent.append(rear.send(flat(red)).header)
        time.sleep(0.03)
    masks = rear.received['mask']
    assert wait_until(lambda: masks[-1].header == sent[-1], TIMEOUT_S)
    assert not any(mask.header in sent[:-1] for mask in masks)
