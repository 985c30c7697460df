"""The node ends in time after a signal, whatever a call of a driver or a load still does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from camera import TIMEOUT_S, Camera, flat
from diagnostic_msgs.msg import DiagnosticStatus
from endless import endless_bundle
from gated import Gates
from probe import write_probe_bundle
from rclpy.node import Node
from services import ParameterClient, ask
from std_srvs.srv import Trigger

from dgss_core.errors import DgssError
from dgss_ros.client.session import wait_until
from dgss_ros.node import ending, pipeline

pytestmark = pytest.mark.ros
SIGNALS = ('SIGINT', 'SIGTERM')
OK, ERROR = DiagnosticStatus.OK, DiagnosticStatus.ERROR


def started(start_node, gates: Gates, bundle: Path, **options: object):
    return start_node(
        bundle=bundle, backend=gates.backend, self_test=False, autostart=True, **options
    )


def test_the_time_to_end_is_below_five_seconds() -> None:
    assert ending.END_S + ending.POLL_S < 5
    assert pipeline.END_S < ending.END_S


def test_an_interrupt_at_any_moment_of_the_start_ends_the_node_cleanly(start_node) -> None:
    for delay_ms in (0, 1, 2, 4, 6, 8, 12, 16):
        node = start_node(bundel='the first that a node logs')
        assert wait_until(lambda n=node: 'There is no parameter' in n.log, TIMEOUT_S)
        time.sleep(delay_ms / 1e3)
        assert node.end(signal.SIGINT) == 0, node.log


@pytest.mark.parametrize('name', SIGNALS)
def test_a_signal_while_libraries_are_imported_ends_the_node_without_a_word(name: str) -> None:
    # Tells each import, of which the first are done here, and most are not.
    code = 'import sys; from dgss_ros.__main__ import main; sys.exit(main())'
    command = [sys.executable, '-X', 'importtime', '-c', code, '--ros-args']
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        told = iter(process.stderr.readline, '')
        assert any('numpy' in line for line in told)
        process.send_signal(getattr(signal, name))
        rest = [line for line in told if not line.startswith('import time:')]
        assert process.wait(TIMEOUT_S) == 0
    assert rest == []


@pytest.mark.parametrize('name', SIGNALS)
def test_a_signal_ends_a_node_whose_network_never_returns(
    start_node, gates: Gates, probe_bundle: Path, camera: Camera, name: str
) -> None:
    node = started(start_node, gates, probe_bundle)
    camera.subscribe('mask')
    camera.connect()
    gates.close('hold-run-probe')
    runs = gates.count('run probe')
    camera.send(flat(1))
    gates.wait('run probe', runs + 1)
    assert node.end(getattr(signal, name)) == 0, node.log
    assert 'A frame has not left the network' in node.log
    assert 'these threads are not done: MainThread, segmentation' in node.log
    # It has left the graph, as after every other end.
    assert wait_until(lambda: camera.subscribers == 0, TIMEOUT_S)


@pytest.mark.parametrize('name', SIGNALS)
def test_a_signal_ends_a_node_that_loads_for_ever(
    start_node, gates: Gates, probe_bundle: Path, name: str
) -> None:
    gates.close('hold-load-probe')
    node = started(start_node, gates, probe_bundle)
    gates.wait('load probe')
    assert node.end(getattr(signal, name)) == 0, node.log
    assert 'these threads are not done: MainThread' in node.log


def test_a_signal_ends_a_node_that_reloads_for_ever(
    start_node, gates: Gates, ros: Node, probe_bundle: Path, camera: Camera
) -> None:
    node = started(start_node, gates, probe_bundle)
    camera.subscribe('mask')
    camera.connect()
    gates.close('hold-load-probe')
    client = ros.create_client(Trigger, '/dgss/reload')
    assert client.wait_for_service(TIMEOUT_S)
    client.call_async(Trigger.Request())
    gates.wait('load probe', 2)
    camera.answer(flat(1))
    assert node.end(signal.SIGTERM) == 0, node.log


def test_a_network_that_loops_for_ever_is_given_up_and_the_node_still_ends(
    start_node, ros: Node, tmp_path: Path, camera: Camera
) -> None:
    good, endless = write_probe_bundle(tmp_path / 'good'), endless_bundle(tmp_path / 'endless')
    limit = ('-p', 'engine.max_silence_s:=1.0')
    node = start_node(*limit, bundle=good, backend='onnxruntime', threads=1, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    parameters = ParameterClient(ros)
    assert parameters.set('bundle', str(endless)) == ''
    assert 'made no progress for 1 s' in ask(ros, 'reload').message
    assert parameters.set('bundle', str(good)) == ''
    assert ask(ros, 'reload').success
    camera.answer(flat(1))
    assert node.end(signal.SIGTERM) == 0, node.log


def test_a_signal_ends_a_node_that_starts_with_a_network_that_loops_for_ever(
    start_node, tmp_path: Path
) -> None:
    node = start_node(
        bundle=endless_bundle(tmp_path / 'endless'), backend='onnxruntime', autostart=True
    )
    assert wait_until(lambda: 'Runs endless@' in node.log, TIMEOUT_S)
    assert node.end(signal.SIGINT) == 0, node.log


def test_a_network_that_never_returns_does_not_stop_the_executor(
    start_node, gates: Gates, ros: Node, probe_bundle: Path, camera: Camera, diagnostics
) -> None:
    """The node is finalized: it can neither free that network nor run another safely."""
    node = started(start_node, gates, probe_bundle)
    camera.subscribe('mask')
    camera.connect()
    gates.close('hold-run-probe')
    runs = gates.count('run probe')
    camera.send(flat(1))
    gates.wait('run probe', runs + 1)
    with pytest.raises(DgssError, match='and is finalized: A frame has not left the network'):
        node.lifecycle.deactivate()
    diagnostics.wait('model', lambda s, v: (s.level, v['state']) == (ERROR, 'finalized'))
    assert ParameterClient(ros).get('workers') == 1
    masks = len(camera.received['mask'])
    gates.open('hold-run-probe')
    gates.wait('ran probe', runs + 1)
    time.sleep(0.3)
    assert len(camera.received['mask']) == masks
    assert node.end(signal.SIGTERM) == 0
