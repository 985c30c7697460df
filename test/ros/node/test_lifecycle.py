"""Legal and illegal transitions of the node, requested from another process."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from gated import Gates
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from probe import write_probe_bundle
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from std_srvs.srv import Trigger

from dgss_core.errors import DgssError
from dgss_ros.client.lifecycle import LifecycleClient
from dgss_ros.client.session import call, wait_until
from dgss_ros.node.messages import to_mask

pytestmark = pytest.mark.ros


def set_bundle(ros: Node, folder: Path) -> None:
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(folder))
    request = SetParameters.Request(parameters=[ParameterMessage(name='bundle', value=value)])
    client = ros.create_client(SetParameters, '/dgss/set_parameters')
    (result,) = call(client, request, TIMEOUT_S).results
    assert result.successful, result.reason


def test_the_lifecycle_can_be_repeated(start_node, probe_bundle: Path, camera: Camera) -> None:
    lifecycle = start_node(bundle=probe_bundle).lifecycle
    assert lifecycle.state == 'unconfigured'
    camera.subscribe('mask')
    for red in (20, 40, 60):
        lifecycle.configure()
        assert lifecycle.state == 'inactive'
        lifecycle.activate()
        assert lifecycle.state == 'active'
        camera.connect()
        mask = to_mask(camera.answer(flat(red))['mask'])
        assert np.unique(mask).tolist() == [red // 16]
        lifecycle.deactivate()
        before = len(camera.received['mask'])
        camera.send(flat(red))
        time.sleep(0.3)
        assert len(camera.received['mask']) == before
        lifecycle.cleanup()
        assert lifecycle.state == 'unconfigured'


def test_cleaning_up_gives_the_memory_back(start_node, street_bundle: Path) -> None:
    node = start_node(bundle=street_bundle, fresh=True)
    status = Path(f'/proc/{node.process.pid}/status')
    if not status.exists():
        pytest.skip('needs /proc')

    def resident_mb() -> float:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith('VmRSS'))
        return int(line.split()[1]) / 1024

    cleaned = []
    for _ in range(4):
        node.lifecycle.configure()
        configured = resident_mb()
        node.lifecycle.cleanup()
        cleaned.append(resident_mb())
    assert cleaned[-1] < configured - 30
    assert cleaned[-1] < cleaned[0] + 10


def test_frames_are_answered_after_a_pause(start_node, probe_bundle: Path, camera: Camera) -> None:
    lifecycle = start_node(bundle=probe_bundle, autostart=True).lifecycle
    camera.subscribe('mask')
    for _ in range(3):
        camera.connect()
        camera.answer(flat(20))
        lifecycle.deactivate()
        lifecycle.activate()


def test_illegal_transitions_are_refused_and_change_nothing(
    start_node, ros: Node, probe_bundle: Path, camera: Camera
) -> None:
    lifecycle = start_node(bundle=probe_bundle).lifecycle
    for illegal in (lifecycle.activate, lifecycle.cleanup):
        with pytest.raises(DgssError, match='and is unconfigured'):
            illegal()
    lifecycle.configure()
    lifecycle.activate()
    for illegal in (lifecycle.configure, lifecycle.cleanup):
        with pytest.raises(DgssError, match='and is active'):
            illegal()
    client = ros.create_client(ChangeState, '/dgss/change_state')
    for unknown in (Transition(id=99), Transition(label='fly')):
        request = ChangeState.Request(transition=unknown)
        assert not call(client, request, TIMEOUT_S).success
    camera.subscribe('mask')
    camera.connect()
    camera.answer(flat(1))


def test_a_node_cleaned_up_during_a_reload_stays_unconfigured(
    start_node, ros: Node, gates: Gates, probe_bundle: Path
) -> None:
    node = start_node(bundle=probe_bundle, backend=gates.backend, self_test=False, autostart=True)
    client = ros.create_client(Trigger, '/dgss/reload')
    assert wait_until(lambda: node.lifecycle.state == 'active', TIMEOUT_S)
    assert client.wait_for_service(TIMEOUT_S)
    gates.close('hold-load-probe')
    answer = client.call_async(Trigger.Request())
    gates.wait('load probe', 2)
    node.lifecycle.deactivate()
    node.lifecycle.cleanup()
    gates.open('hold-load-probe')
    assert wait_until(answer.done, TIMEOUT_S)
    assert not answer.result().success
    assert 'cleaned up meanwhile' in answer.result().message
    assert node.lifecycle.state == 'unconfigured'
    assert gates.count('close probe') == 2
    node.lifecycle.configure()


def test_a_node_stopped_during_a_reload_ends_cleanly(
    start_node, ros: Node, street_bundle: Path
) -> None:
    node = start_node(bundle=street_bundle, autostart=True, fresh=True)
    client = ros.create_client(Trigger, '/dgss/reload')
    assert wait_until(lambda: node.lifecycle.state == 'active', TIMEOUT_S)
    assert client.wait_for_service(TIMEOUT_S)
    client.call_async(Trigger.Request())
    time.sleep(0.02)
    assert node.end(signal.SIGTERM) == 0, node.log


def damage_all(folder: Path) -> None:
    shutil.rmtree(folder)


def damage_checksum(folder: Path) -> None:
    network = folder / 'model.onnx'
    data = bytearray(network.read_bytes())
    data[len(data) // 2] ^= 1
    network.write_bytes(data)


def damage_manifest(folder: Path) -> None:
    (folder / 'manifest.json').write_text('{"schema": 1}')


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (damage_all, 'There is no bundle at'),
        (damage_checksum, 'is not the file its manifest describes'),
        (damage_manifest, 'manifest.json lacks'),
    ],
)
def test_a_bad_bundle_fails_with_its_reason_and_a_good_one_then_works(
    start_node,
    ros: Node,
    probe_bundle: Path,
    tmp_path: Path,
    camera: Camera,
    diagnostics: DiagnosticsReader,
    damage,
    reason: str,
) -> None:
    bad = write_probe_bundle(tmp_path / 'bad')
    damage(bad)
    node = start_node(bundle=bad, bundle_folders=f'[{tmp_path}, {probe_bundle.parent}]')
    with pytest.raises(DgssError, match=reason):
        node.lifecycle.configure()
    assert reason in node.log
    diagnostics.wait(
        'model', lambda s, _: s.level == DiagnosticStatus.ERROR and reason in s.message
    )
    assert node.lifecycle.state == 'unconfigured'
    set_bundle(ros, probe_bundle)
    node.lifecycle.configure()
    node.lifecycle.activate()
    camera.subscribe('mask')
    camera.connect()
    camera.answer(flat(1))
    diagnostics.wait('model', lambda s, _: s.level == DiagnosticStatus.OK)


def test_an_exception_in_a_transition_is_logged_and_does_not_end_the_node(
    start_node, ros: Node, probe_bundle: Path
) -> None:
    """rclpy raises when it creates a publisher on a topic of another type."""
    node = start_node('-r', '~/confidence:=/diagnostics', bundle=probe_bundle, traceback=True)
    for _ in range(2):
        with pytest.raises(DgssError, match=r'and is unconfigured: on_configure failed'):
            node.lifecycle.configure()
    assert wait_until(lambda: ros.count_publishers('/dgss/mask') == 0, TIMEOUT_S)
    assert 'Traceback' in node.log
    assert node.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ('override', 'reason'),
    [
        ('/dgss/confidence.publisher.reliability:=perhaps', 'must be one of .*best_effort'),
        ('/dgss/image.subscription.depth:=0', 'from 1 to'),
        ('/dgss/image.subscription.depth:=true', 'not True'),
        ('/dgss/image.subscription.depth:=3000000000', 'not 3000000000'),
        ('/dgss/image.subscription.history:=keep', 'must be one of .*keep_last'),
    ],
)
def test_a_wrong_qos_override_fails_to_configure_with_a_sentence(
    start_node, ros: Node, probe_bundle: Path, override: str, reason: str
) -> None:
    node = start_node('-p', f'qos_overrides.{override}', bundle=probe_bundle)
    for _ in range(2):
        with pytest.raises(DgssError, match=rf'and is unconfigured: qos_overrides.*{reason}'):
            node.lifecycle.configure()
    assert ros.count_publishers('/dgss/mask') == 0
    assert node.end(signal.SIGINT) == 0


def test_shutdown_is_final_and_the_process_ends_cleanly(
    start_node, ros: Node, probe_bundle: Path, camera: Camera
) -> None:
    node = start_node(bundle=probe_bundle, autostart=True, fresh=True)
    camera.subscribe('mask')
    camera.connect()
    node.lifecycle.shutdown()
    assert node.lifecycle.state == 'finalized'
    refused = call(ros.create_client(Trigger, '/dgss/reload'), Trigger.Request(), TIMEOUT_S)
    assert refused.message == 'The node is finalized and runs no bundle; start it again.'
    with pytest.raises(DgssError, match='cannot shut down while it is finalized'):
        node.lifecycle.shutdown()
    assert node.end(signal.SIGTERM) == 0


def test_a_missing_node_is_named(ros: Node) -> None:
    client = LifecycleClient(ros, '/nowhere', timeout_s=0.3)
    with pytest.raises(DgssError, match='no service /nowhere/change_state'):
        client.configure()


def test_autostart_with_a_bad_bundle_leaves_a_node_that_can_be_fixed(
    start_node, ros: Node, tmp_path: Path, probe_bundle: Path
) -> None:
    folders = f'[{tmp_path}, {probe_bundle.parent}]'
    node = start_node(bundle=tmp_path / 'nothing', bundle_folders=folders, autostart=True)
    assert node.lifecycle.state == 'unconfigured'
    assert wait_until(lambda: 'There is no bundle at' in node.log, TIMEOUT_S)
    set_bundle(ros, probe_bundle)
    node.lifecycle.configure()
    assert node.lifecycle.state == 'inactive'
