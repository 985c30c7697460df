"""Ten thousand malformed messages: each is decoded or refused with one sentence, and counted."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from malformed import compressed_images, images, png_bomb
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from dgss_core.errors import DgssError
from dgss_core.images.encodings import MAX_PIXELS
from dgss_ros.client.process import resident_mib
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_image, to_mask, to_picture

pytestmark = pytest.mark.ros
IN_PROCESS, LIVE, BATCH = 4600, 400, 20
PACE_S = 0.004
"""Longer than the node needs to refuse an image, so that almost none is dropped."""


def fuzz(messages: int) -> settings:
    """Draw this many messages, in examples of `BATCH`: an example costs more than a message."""
    return settings(
        max_examples=messages // BATCH,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def batches(messages: st.SearchStrategy) -> st.SearchStrategy[list]:
    return st.lists(messages, min_size=BATCH, max_size=BATCH)


def decode(message: Image | CompressedImage) -> np.ndarray | str:
    """Return the image, or the reason of the refusal."""
    try:
        return to_picture(message).rgb
    except DgssError as error:
        return str(error)


def judge_decoded(decoded: np.ndarray | str) -> None:
    if isinstance(decoded, str):
        assert '\n' not in decoded
        assert len(decoded) < 1000
    else:
        assert decoded.ndim == 3
        assert decoded.dtype == np.uint8


@given(messages=batches(images()))
@fuzz(IN_PROCESS)
def test_an_image_is_decoded_or_refused(messages: list[Image]) -> None:
    for message in messages:
        decoded = decode(message)
        judge_decoded(decoded)
        if not isinstance(decoded, str):
            assert decoded.shape == (message.height, message.width, 3)


@given(messages=batches(compressed_images()))
@fuzz(IN_PROCESS)
def test_a_compressed_image_is_decoded_or_refused(messages: list[CompressedImage]) -> None:
    for message in messages:
        judge_decoded(decode(message))


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    assert 'pixels a side and' in decode(CompressedImage(data=png_bomb(side, side, 1)))
    assert MAX_PIXELS * 3 <= 200 << 20, 'accepted images must not fill the memory either'


def lossless(topic: str) -> tuple[str, ...]:
    """Options of a node that loses no image of `topic` on the way, however busy the machine is."""
    profile = f'qos_overrides.{topic}.subscription'
    return '-p', f'{profile}.reliability:=reliable', '-p', f'{profile}.depth:={LIVE}'


class Attack:
    """Sends malformed messages to a live node and counts them."""

    def __init__(self, ros: Node, kind: type, topic: str) -> None:
        self._publisher = ros.create_publisher(kind, topic, QoSProfile(depth=50))
        self.sent = 0

    def connect(self) -> None:
        assert wait_until(lambda: self._publisher.get_subscription_count() == 1, TIMEOUT_S)

    def send(self, messages: list) -> None:
        for message in messages:
            self._publisher.publish(message)
            self.sent += 1
            time.sleep(PACE_S)


def test_a_live_node_survives_malformed_images(
    start_node, probe_bundle: Path, ros: Node, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(*lossless('/dgss/image'), bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    attack = Attack(ros, Image, '/dgss/image')
    attack.connect()

    @given(messages=batches(images()))
    @fuzz(LIVE)
    def run(messages: list[Image]) -> None:
        attack.send(messages)

    judge(run, attack, node, diagnostics)
    assert np.unique(to_mask(camera.answer(flat(80))['mask'])).tolist() == [5]


def test_a_live_node_survives_malformed_compressed_images(
    start_node, probe_bundle: Path, ros: Node, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(
        *lossless('/dgss/image/compressed'),
        bundle=probe_bundle,
        autostart=True,
        image_transport='compressed',
    )
    masks: list[Image] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, QoSProfile(depth=10))
    attack = Attack(ros, CompressedImage, '/dgss/image/compressed')
    attack.connect()

    @given(messages=batches(compressed_images()))
    @fuzz(LIVE)
    def run(messages: list[CompressedImage]) -> None:
        attack.send(messages)

    judge(run, attack, node, diagnostics)
    file = cv2.imencode('.png', flat(80)[..., ::-1])[1].tobytes()
    good = CompressedImage(format='png', data=file)
    good.header.frame_id = 'good'
    attack.send([good])
    assert wait_until(lambda: masks and masks[-1].header.frame_id == 'good', TIMEOUT_S)
    assert np.unique(to_mask(masks[-1])).tolist() == [5]


def judge(run, attack: Attack, node, diagnostics: DiagnosticsReader) -> None:
    """Run the attack; the counters must include every message, and memory must stay level."""
    values = diagnostics.wait('frames', lambda *_: True)
    before = resident_mib(node.process.pid)
    run()
    assert attack.sent == LIVE

    def settled(_, values: dict) -> bool:
        ends = ('processed', 'dropped', 'skipped', 'rejected', 'failed')
        received = int(values['received'])
        return received >= 0.9 * LIVE and received == sum(int(values[end]) for end in ends)

    values = diagnostics.wait('frames', settled)
    assert values['failed'] == '0'
    assert int(values['rejected']) > LIVE / 2
    assert node.process.poll() is None
    assert node.lifecycle.state == 'active'
    # Decoding the largest of these images takes a few hundred MiB, which are then returned.
    assert resident_mib(node.process.pid) < before + 300


def test_a_live_node_survives_broken_serialization(
    start_node, probe_bundle: Path, ros: Node, camera: Camera
) -> None:
    """No ROS publisher sends such data, but a broken driver or an attacker may."""
    node = start_node(bundle=probe_bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    attack = Attack(ros, Image, '/dgss/image')
    attack.connect()
    good = serialize_message(to_image(camera.header(), flat(9), 'rgb8'))

    def broken(size: int, place: int, noise: bytes) -> bytes:
        return (good[:place] + noise + good[place + len(noise) :])[:size]

    size, place, noise = st.integers(4, len(good)), st.integers(0, 100), st.binary(max_size=8)

    @given(messages=batches(st.builds(broken, size, place, noise)))
    @fuzz(LIVE)
    def run(messages: list[bytes]) -> None:
        attack.send(messages)

    run()
    assert attack.sent == LIVE
    assert np.unique(to_mask(camera.answer(flat(80))['mask'])).tolist() == [5]
    assert node.lifecycle.state == 'active'
