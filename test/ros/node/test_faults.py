"""Faults around a node: each one is in its diagnostics, and the node recovers."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from probe import write_probe_bundle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from services import ask
from streams import images_at

from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import ReferenceFrame
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_mask

pytestmark = pytest.mark.ros
ERROR, OK = DiagnosticStatus.ERROR, DiagnosticStatus.OK
SMALL_FILE = 100_000


def ids(camera: Camera, image: np.ndarray, encoding: str = 'rgb8') -> list[int]:
    return np.unique(to_mask(camera.answer(image, encoding)['mask'])).tolist()


def test_a_bundle_deleted_in_use_keeps_running_and_fails_on_the_next_load(
    start_node,
    ros: Node,
    probe_bundle: Path,
    tmp_path: Path,
    camera: Camera,
    diagnostics: DiagnosticsReader,
) -> None:
    bundle = tmp_path / 'mine'
    shutil.copytree(probe_bundle, bundle)
    node = start_node(bundle=bundle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    network = next(bundle.glob('*.onnx'))
    network.unlink()
    assert ids(camera, flat(80)) == [5]
    assert network.name in ask(ros, 'reload').message
    assert ids(camera, flat(96)) == [6]
    node.lifecycle.deactivate()
    node.lifecycle.cleanup()
    with pytest.raises(DgssError, match=network.name):
        node.lifecycle.configure()
    diagnostics.wait('model', lambda s, _: s.level == ERROR and network.name in s.message)
    shutil.copy(probe_bundle / network.name, network)
    node.lifecycle.configure()
    node.lifecycle.activate()
    diagnostics.wait('model', lambda s, _: s.level == OK)
    assert ids(camera, flat(112)) == [7]


@pytest.mark.parametrize(
    'backend',
    ['openvino', *(pytest.param(n, marks=pytest.mark.gpu) for n in ('tensorrt', 'tensorrt_rtx'))],
)
def test_a_deleted_engine_cache_is_built_again(
    start_node, tmp_path: Path, camera: Camera, diagnostics: DiagnosticsReader, backend: str
) -> None:
    if find_spec(backend) is None:
        pytest.skip(f'needs {backend}')
    picture = flat(80, 200)
    mask, confidence = np.full((48, 64), 5, np.uint8), picture[..., 1].copy()
    frames = [ReferenceFrame('first', 'day', picture, mask, confidence)]
    cache = tmp_path / 'cache'
    options = ('-p', f'engine.cache_dir:={cache}')
    bundle = write_probe_bundle(tmp_path / 'probe', frames=frames)
    node = start_node(*options, bundle=bundle, backend=backend, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    files = {path.relative_to(cache) for path in cache.rglob('*.json')}
    assert files
    shutil.rmtree(cache)
    assert ids(camera, flat(80)) == [5]
    node.lifecycle.deactivate()
    node.lifecycle.cleanup()
    node.lifecycle.configure()
    node.lifecycle.activate()
    diagnostics.wait('model', lambda s, v: s.level == OK and v.get('backend') == backend)
    assert {path.relative_to(cache) for path in cache.rglob('*.json')} == files
    assert ids(camera, flat(96)) == [6]


@contextmanager
def full_disk(process: subprocess.Popen) -> Iterator[None]:
    """Make every write of a process fail that extends a file beyond `SMALL_FILE` bytes."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (SMALL_FILE, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not hasattr(resource, 'prlimit'), reason='needs prlimit (Linux)')
def test_a_full_disk_leaves_no_half_file(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, tmp_path: Path
) -> None:
    folder = tmp_path / 'saved'
    node = start_node(bundle=probe_bundle, save_folder=folder, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    camera.answer(noise)
    with full_disk(node.process):
        response = ask(ros, 'save_frame')
        assert not response.success
        assert str(folder) in response.message
        assert 'cannot be written' in response.message
        assert list(folder.iterdir()) == []
        assert ids(camera, flat(80)) == [5]
        camera.answer(noise)
    response = ask(ros, 'save_frame')
    assert response.success, response.message
    assert len(list(folder.iterdir())) == 4


def test_a_camera_may_come_back_with_another_size_encoding_and_qos(
    start_node, ros: Node, probe_bundle: Path, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=probe_bundle, autostart=True)
    profiles = [
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE),
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    ]
    formats = [((64, 48), 'rgb8'), ((321, 123), 'bgr8'), ((640, 360), 'rgb8')]
    for qos, (size, encoding) in zip(profiles, formats, strict=True):
        camera = Camera(ros, qos=qos)
        camera.subscribe('mask')
        camera.connect()
        image = flat(160, size=size)
        sent = image if encoding == 'rgb8' else image[..., ::-1]
        assert ids(camera, sent, encoding) == [10]
        camera.close()
        diagnostics.wait('frames', lambda s, _: s.level == ERROR and 'no image' in s.message)


class SimulatedClock:
    """Publishes /clock with the time `seconds`, on the thread of the ROS session."""

    def __init__(self, ros: Node) -> None:
        self.seconds = 1_700_000_000.0
        self._publisher = ros.create_publisher(Clock, '/clock', 10)
        ros.create_timer(0.02, self._tick)

    def _tick(self) -> None:
        sec, nanosec = divmod(int(self.seconds * 1e9), 10**9)
        self._publisher.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))


def test_simulated_time_may_pause_and_jump(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    clock = SimulatedClock(ros)
    limit = ('-p', 'input.max_age_ms:=60000.0')
    start_node(*limit, bundle=probe_bundle, autostart=True, use_sim_time=True)
    camera.subscribe('mask')
    camera.connect()
    assert ids(camera, flat(80)) == [5]

    clock.seconds += 3600
    skipped = int(diagnostics.wait('frames', lambda *_: True)['skipped'])
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, v: s.level == ERROR and int(v['skipped']) > skipped)

    clock.seconds -= 7200
    with images_at(camera, 20.0):
        diagnostics.wait('frames', lambda s, _: s.level == OK)
    assert ids(camera, flat(96)) == [6]


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_a_signal_during_inference_ends_the_node_and_another_takes_over(
    start_node: Callable, probe_bundle: Path, camera: Camera, name: str
) -> None:
    options = {'bundle': probe_bundle, 'autostart': True}
    node = start_node(backend='null:1500', self_test=False, **options)
    camera.subscribe('mask')
    camera.connect()
    before = len(camera.received['mask'])
    camera.send(flat(1))
    time.sleep(0.5)
    assert len(camera.received['mask']) == before, 'the frame is no longer in work'
    assert node.end(getattr(signal, name)) == 0, node.log
    assert wait_until(lambda: camera.subscribers == 0, TIMEOUT_S)
    start_node(**options)
    camera.received['mask'].clear()
    camera.connect()
    assert ids(camera, flat(80)) == [5]
