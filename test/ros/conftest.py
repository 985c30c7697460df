"""Fixtures for tests of real nodes in processes over DDS; skipped without rclpy."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dgss_ros.client.domain import reserve_domain
from dgss_ros.node import transport

if TYPE_CHECKING:
    from subprocess import Popen

    from forked import ForkedNode

WITHOUT_ROS = {
    'test_counters.py',
    'test_domain.py',
    'test_gaps.py',
    'test_mailbox.py',
    'test_transport.py',
    'test_watch.py',
}

SMALL_SEGMENTS = str(Path(transport.__file__).with_name('fastdds_small.xml'))
# A domain per test process isolates the tests from robots and from each other. Fast DDS clears the
# whole shared memory of every participant, which takes longer than all else of an empty node.
os.environ |= {
    **dict.fromkeys(transport.PROFILE_VARIABLES, SMALL_SEGMENTS),
    'ROS_DOMAIN_ID': str(reserve_domain()),
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'PYTHONUNBUFFERED': '1',
}


class WithoutRclpy(pytest.Module):
    """Replaces a test file that cannot be imported without rclpy, and skips it."""

    def collect(self) -> list:
        pytest.skip('needs rclpy: source ROS 2, or pip install dgss_ros[ros]')


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> object:
    if module_path.name not in WITHOUT_ROS and importlib.util.find_spec('rclpy') is None:
        return WithoutRclpy.from_parent(parent, path=module_path)
    return None


class RunningNode:
    """A segmentation node in its process, with a client of its lifecycle."""

    def __init__(self, process: Popen | ForkedNode, ros: object, log: Path) -> None:
        from dgss_ros.client.lifecycle import LifecycleClient

        self.process = process
        self.lifecycle = LifecycleClient(ros)
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self, signal_number: int) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(20)


StartNode = Callable[..., RunningNode]
BACKEND = {'backend': 'onnxruntime'}
"""Not `auto`: it loads every installed library, and only then finds that none can be proven with a
bundle without reference frames."""


@pytest.fixture
def ros() -> Iterator:
    """A ROS node for the test; its callbacks run on a thread."""
    from dgss_ros.client.session import ros_session

    with ros_session('test') as node:
        yield node


@pytest.fixture(scope='session')
def fork_server(own_cache: None) -> None:
    """Lets nodes be forked; without it they are started by the command line."""
    from forked import start_server

    start_server()


@pytest.fixture
def start_node(ros, tmp_path: Path, fork_server: None) -> Iterator[StartNode]:
    """Start the segmentation node with parameters as keywords.

    It must log no traceback, unless `traceback` is set because the test provokes one. `fresh`: the
    test needs the command line, or an interpreter that has imported nothing yet.
    """
    from forked import running_node

    nodes = []
    with ExitStack() as stack:

        def start(
            *ros_args: str, traceback: bool = False, fresh: bool = False, **parameters: object
        ) -> RunningNode:
            log = tmp_path / f'node{len(list(tmp_path.glob("*.log")))}.log'
            arguments = [*ros_args]
            for name, value in (BACKEND | parameters).items():
                arguments += ['-p', f'{name}:={value}']
            process = stack.enter_context(running_node(*arguments, log=log, is_fresh=fresh))
            node = RunningNode(process, ros, log)
            if not traceback:
                nodes.append(node)
            return node

        yield start
    for node in nodes:
        assert 'Traceback' not in node.log, node.log


@pytest.fixture
def camera(ros):
    from camera import Camera

    return Camera(ros)


@pytest.fixture
def diagnostics(ros):
    from camera import DiagnosticsReader

    return DiagnosticsReader(ros)


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A backend whose loads and runs wait and fail on command."""
    from gated import Gates

    return Gates(tmp_path, monkeypatch)


@pytest.fixture(scope='session')
def probe_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose masks identify the image: mask = red // 16, confidence = green."""
    from probe import write_probe_bundle

    return write_probe_bundle(tmp_path_factory.mktemp('bundles') / 'probe')


@pytest.fixture(scope='session')
def street_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded bundle with one of its reference frames, so that its self-test is short."""
    from dgss_core.runtime.bundle import open_bundle
    from dgss_core.runtime.bundle.writing import write_bundle

    street = open_bundle()
    folder = tmp_path_factory.mktemp('bundles') / 'street'
    return write_bundle(
        folder, street.onnx_path, street.manifest, frames=street.frames()[:1]
    ).folder


@pytest.fixture(scope='session')
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the same answers that takes tens of milliseconds."""
    from probe import write_probe_bundle

    return write_probe_bundle(tmp_path_factory.mktemp('bundles') / 'slow', products=2)
