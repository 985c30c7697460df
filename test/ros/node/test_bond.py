"""The bond with a lifecycle manager, which is re-enacted as Nav2 has it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.node import Node

from dgss_ros.client.session import wait_until
from dgss_ros.node import bond as bonds

pytestmark = pytest.mark.ros
needs_bondpy = pytest.mark.skipif(bonds.Bond is None, reason='needs bondpy: source ROS 2')


@pytest.fixture
def manager(ros: Node) -> Iterator[Callable[..., Any]]:
    """Make the manager's end, with the times of LifecycleManager::createBondConnection."""
    ends = []

    def make(node_name: str = 'dgss', topic: str = '/bond') -> Any:
        bond = bonds.Bond(ros, topic, node_name)
        bond.heartbeat_timeout = 4.0
        bond.heartbeat_period = 0.1
        bond.start()
        ends.append(bond)
        return bond

    yield make
    for bond in ends:
        # Not bond.shutdown(), which destroys what the thread of `ros` waits for.
        with bond.lock:
            bond.is_shutdown = True
            bond.condition.notify_all()
        for timer in (bond.connect_timer, bond.heartbeat_timer, bond.disconnect_timer):
            timer.cancel()
        bond.thread.join()


def is_formed(bond: Any) -> bool:
    return bond.wait_until_formed(Duration(seconds=2)) and not bond.is_broken()


@needs_bondpy
@pytest.mark.parametrize('namespace', ['/', '/veh'])
def test_a_manager_sees_the_node_live_and_leave(
    start_node, ros: Node, manager, probe_bundle: Path, namespace: str
) -> None:
    node = start_node('-r', f'__ns:={namespace}', bundle=probe_bundle)
    lifecycle = type(node.lifecycle)(ros, f'{namespace.rstrip("/")}/dgss')
    lifecycle.configure()
    for _ in range(2):  # a node may be activated again
        lifecycle.activate()
        bond = manager(topic=f'{namespace.rstrip("/")}/bond')
        assert is_formed(bond)
        lifecycle.deactivate()
        assert wait_until(bond.is_broken, 1.0), 'the manager was not told'
    assert node.end(signal.SIGTERM) == 0


@needs_bondpy
def test_a_killed_node_breaks_its_bond_within_the_timeout(
    start_node, manager, probe_bundle: Path
) -> None:
    node = start_node(bundle=probe_bundle)
    node.lifecycle.configure()
    node.lifecycle.activate()
    bond = manager()
    assert is_formed(bond)
    time.sleep(0.5)  # bondpy counts from the second heartbeat on
    node.process.kill()
    assert wait_until(bond.is_broken, 4.0 + 2.0)


@needs_bondpy
def test_a_bond_is_no_rival_and_ends_without_delay(
    start_node, manager, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(bundle=probe_bundle)
    node.lifecycle.configure()
    node.lifecycle.activate()
    bond = manager()
    assert is_formed(bond)
    camera.subscribe('mask')
    camera.connect()
    camera.answer(flat(1))
    diagnostics.status.clear()
    diagnostics.wait('connections', lambda s, _: s.level == DiagnosticStatus.OK)
    assert node.end(signal.SIGINT) == 0
    assert 'Ends the process, although' not in node.log


@needs_bondpy
@pytest.mark.parametrize(
    'options', [{'autostart': True}, {'bond_heartbeat_period': 0.0}], ids=lambda o: next(iter(o))
)
def test_a_node_without_a_manager_makes_no_bond(
    start_node, ros: Node, probe_bundle: Path, options: dict
) -> None:
    node = start_node(bundle=probe_bundle, **options)
    if not options.get('autostart'):
        node.lifecycle.configure()
        node.lifecycle.activate()
    assert wait_until(lambda: node.lifecycle.state == 'active', TIMEOUT_S)
    assert ros.count_publishers('/bond') == 0


def test_without_bondpy_the_log_says_what_a_manager_needs(
    start_node, probe_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'bondpy').mkdir()
    (tmp_path / 'bondpy' / '__init__.py').write_text('raise ImportError\n')
    monkeypatch.syspath_prepend(tmp_path)
    path = os.environ.get('PYTHONPATH', '')
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:{path}')
    node = start_node(bundle=probe_bundle)
    node.lifecycle.configure()
    node.lifecycle.activate()
    assert 'bondpy is not installed' in node.log
    assert 'bond_timeout: 0.0' in node.log
