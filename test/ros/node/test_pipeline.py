"""The network runs while other images are prepared and published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from gated import Gates
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


class Pair:
    """A node with two cameras and one worker; the network can be held."""

    def __init__(self, start_node, ros: Node, gates: Gates, bundle: Path) -> None:
        self.node = start_node(
            *('-p', 'cameras:=[front, rear]'),
            bundle=bundle,
            backend=gates.backend,
            self_test=False,
            autostart=True,
        )
        self._gates = gates
        self.front, self.rear = (
            Camera(ros, f'/dgss/{name}/image', f'/dgss/{name}') for name in ('front', 'rear')
        )
        for camera in (self.front, self.rear):
            camera.subscribe('mask')
            camera.connect()

    @contextmanager
    def busy_network(self) -> Iterator[None]:
        """Hold an image of the front camera in the network during the block."""
        self._gates.close('hold-run-probe')
        runs = self._gates.count('run probe')
        header = self.front.send(flat(1)).header
        self._gates.wait('run probe', runs + 1)
        yield
        self._gates.open('hold-run-probe')
        masks = self.front.received['mask']
        assert wait_until(lambda: any(mask.header == header for mask in masks), TIMEOUT_S)


@pytest.fixture
def pair(start_node, ros: Node, gates: Gates, probe_bundle: Path) -> Pair:
    return Pair(start_node, ros, gates, probe_bundle)


def test_a_frame_is_prepared_while_the_network_is_busy(
    pair: Pair, diagnostics: DiagnosticsReader
) -> None:
    held_ms = []
    received = int(diagnostics.wait('rear frames', lambda *_: True)['received'])
    for count in range(received + 1, received + 5):
        masks = len(pair.rear.received['mask'])
        with pair.busy_network():
            begun = time.monotonic()
            pair.rear.send(flat(1))
            diagnostics.wait('rear frames', lambda _, v, n=count: v['received'] == str(n))
            wait_until(lambda t=begun: time.monotonic() > t + 1.0, TIMEOUT_S)
            held_ms.append(1e3 * (time.monotonic() - begun))
        assert wait_until(lambda n=masks: len(pair.rear.received['mask']) > n, TIMEOUT_S)
    # They waited for the network, but not for their preparation.
    values = diagnostics.wait(
        'rear frames', lambda _, v: float(v['inference_ms_p95']) > min(held_ms) / 2
    )
    assert float(values['waiting_ms_p95']) < min(held_ms) / 2


def test_only_the_newest_image_is_answered_when_the_network_is_free(
    pair: Pair, diagnostics: DiagnosticsReader
) -> None:
    received = int(diagnostics.wait('rear frames', lambda *_: True)['received'])
    with pair.busy_network():
        sent = []
        for count in range(1, 4):
            sent.append(pair.rear.send(flat(count)).header)
            diagnostics.wait(
                'rear frames', lambda _, v, n=count: int(v['received']) == received + n
            )
    masks = pair.rear.received['mask']
    assert wait_until(lambda: masks[-1].header == sent[-1], TIMEOUT_S)
    assert not any(mask.header in sent[:-1] for mask in masks)


def test_an_unusable_newer_image_does_not_take_the_prepared_one_with_it(
    pair: Pair, diagnostics: DiagnosticsReader
) -> None:
    masks = pair.rear.received['mask']
    values = diagnostics.wait('rear frames', lambda *_: True)
    received, rejected = int(values['received']), int(values['rejected'])

    def answered() -> bool:
        """Send a good and a bad image; the good one may be replaced before it is prepared."""
        nonlocal received, rejected
        with pair.busy_network():
            good = pair.rear.send(flat(80)).header
            received += 1
            diagnostics.wait('rear frames', lambda _, v: int(v['received']) == received)
            time.sleep(0.2)
            pair.rear.send(flat(80), 'infrared12')
            received, rejected = received + 1, rejected + 1
            diagnostics.wait('rear frames', lambda _, v: int(v['received']) == received)
        diagnostics.wait('rear frames', lambda _, v: int(v['rejected']) == rejected)
        return wait_until(lambda: masks[-1].header == good, 1.0)

    assert any(answered() for _ in range(5))
    diagnostics.wait(
        'rear frames',
        lambda _, v: (
            int(v['received']) == int(v['processed']) + int(v['dropped']) + int(v['rejected'])
        ),
    )


def test_the_log_names_each_bad_camera(pair: Pair) -> None:
    """The bad images of one camera do not keep those of another from the log."""

    def named() -> bool:
        for camera in (pair.front, pair.rear):
            camera.send(flat(80), 'infrared12')
        log = pair.node.log
        return all(
            f"/dgss/{name}/image: Unknown image encoding 'infrared12'" in log
            for name in ('front', 'rear')
        )

    assert wait_until(named, 3.0)
