"""`/diagnostics` names what answers, and no parameter gets around `bundle_folders`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera import Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from probe import reference_frame, write_probe_bundle
from rclpy.node import Node
from services import ParameterClient, ask

from dgss_ros.node.messages import to_mask

pytestmark = pytest.mark.ros


def test_a_null_backend_is_never_ok_and_is_not_named_after_the_bundle(
    start_node, probe_bundle: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(backend='null:0', bundle=probe_bundle, self_test=False, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    assert np.unique(to_mask(camera.answer(flat(100))['mask'])).tolist() == [0]
    values = diagnostics.wait('model', lambda _, v: v.get('state') == 'active')
    status = diagnostics.status['dgss: model']
    assert status.level == DiagnosticStatus.WARN
    assert 'no network runs' in status.message
    assert values['bundle'] == 'null:0 (no network)'


def test_a_checkpoint_is_named_as_what_answers(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path, diagnostics: DiagnosticsReader
) -> None:
    torch = pytest.importorskip('torch')
    from small_systems import loud

    from dgss_core.networks.checkpoint import About, save_checkpoint

    model = loud('dgss-mobilenetv2', torch.rand(1, 3, 48, 64) * 255)
    path = tmp_path / 'other.safetensors'
    save_checkpoint(model, path, About('dgss-mobilenetv2', {'width': 16}, 'test', '0' * 64, 'MIT'))
    start_node(backend=f'torch:{path}', bundle=probe_bundle, self_test=False, autostart=True)
    values = diagnostics.wait('model', lambda _, v: v.get('state') == 'active')
    status = diagnostics.status['dgss: model']
    assert status.level == DiagnosticStatus.WARN
    assert f'torch:{path}@' in status.message
    assert values['bundle'].startswith(f'torch:{path}@')
    assert ask(ros, 'reload').message.startswith(f'Runs torch:{path}@')


def test_what_runs_no_bundle_cannot_be_set_on_a_running_node(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(bundle=probe_bundle)
    client = ParameterClient(ros)
    for name in ('null', 'null:0', f'torch:{tmp_path / "evil.safetensors"}'):
        assert 'runs no bundle and cannot be set on a running node' in client.set('backend', name)
    assert client.set('backend', 'onnxruntime') == ''
    assert client.set('self_test', False) == ''
    node.lifecycle.configure()
    values = diagnostics.wait('model', lambda _, v: v.get('state') == 'inactive')
    assert values['backend'] == 'onnxruntime'
    assert values['bundle'].startswith('probe@')


def test_a_node_may_return_to_the_backend_of_its_start(
    start_node, ros: Node, probe_bundle: Path
) -> None:
    start_node(backend='null:5', bundle=probe_bundle, self_test=False)
    client = ParameterClient(ros)
    assert client.set('backend', 'auto') == ''
    assert 'cannot be set on a running node' in client.set('backend', 'null:6')
    assert client.set('backend', 'null:5') == ''


def test_after_a_refused_reload_the_message_is_that_of_the_running_bundle(
    start_node, ros: Node, tmp_path: Path, diagnostics: DiagnosticsReader
) -> None:
    good = write_probe_bundle(tmp_path / 'good', frames=[reference_frame('day_0', 32)])
    bad = write_probe_bundle(tmp_path / 'bad', frames=[reference_frame('day_0', 32, 24)])
    # Without the proof, so that the bundle is loaded and reported before its self-test fails.
    node = start_node('-p', 'engine.allow_unverified:=true', bundle=good, autostart=True)
    diagnostics.wait('model', lambda _, v: v.get('state') == 'active')
    assert ParameterClient(ros).set('bundle', str(bad)) == ''
    assert '50.0% of the pixels agree' in ask(ros, 'reload').message
    assert 'Runs bad@' in node.log
    for _ in range(2):  # The first may have been on its way before the refusal.
        diagnostics.status.clear()
        values = diagnostics.wait('model', lambda _, v: v.get('state') == 'active')
    assert diagnostics.status['dgss: model'].message == 'active'
    assert values['bundle'].startswith('good@')
