"""The services of the node, called from another process while images arrive."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from probe import reference_frame, write_probe_bundle
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from services import ParameterClient, ask
from std_srvs.srv import Trigger
from streams import images_at

from dgss_core.errors import DgssError
from dgss_core.images.paint import overlay
from dgss_core.labels import LabelSet
from dgss_ros.client.session import call, wait_until
from dgss_ros.node.messages import stamp_ns, to_mask

pytestmark = pytest.mark.ros


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """A folder with the bundles `first` and `second`; beside it is the bundle `outside`."""
    for name in ('inside/first', 'inside/second', 'outside'):
        write_probe_bundle(tmp_path / name)
    return tmp_path / 'inside'


def test_a_bundle_is_replaced_without_missing_a_frame(
    start_node, ros: Node, bundles: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    start_node(bundle=bundles / 'first', autostart=True)
    camera.subscribe('mask')
    camera.connect()
    parameters = ParameterClient(ros)
    reload = ros.create_client(Trigger, '/dgss/reload')
    assert reload.wait_for_service(TIMEOUT_S)
    index = 0
    for name in ('second', 'first', 'second'):
        assert parameters.set('bundle', str(bundles / name)) == ''
        response = reload.call_async(Trigger.Request())
        begun = index
        while not response.done() or index == begun:
            # Every image is answered, before, during and after the swap.
            mask = camera.answer(flat(index % 256))['mask']
            assert np.unique(to_mask(mask)).tolist() == [index % 256 // 16]
            index += 1
        assert response.result().success, response.result().message
        assert response.result().message.startswith(f'Runs {name}@')
    diagnostics.wait('model', lambda _, v: v.get('bundle', '').startswith('second@'))


def test_other_services_answer_while_a_bundle_is_loaded(
    start_node, ros: Node, bundles: Path, camera: Camera
) -> None:
    start_node(bundle=bundles / 'first', autostart=True)
    camera.subscribe('mask')
    camera.connect()
    reload = ros.create_client(Trigger, '/dgss/reload')
    parameters = ros.create_client(GetParameters, '/dgss/get_parameters')
    assert all(client.wait_for_service(TIMEOUT_S) for client in (reload, parameters))
    calls = [reload.call_async(Trigger.Request()) for _ in range(5)]
    between = 0
    while not all(future.done() for future in calls):
        call(parameters, GetParameters.Request(names=['bundle']), TIMEOUT_S)
        camera.answer(flat(between % 256))
        between += 1
    assert all(future.result().success for future in calls)
    assert between > 1


def test_a_failed_reload_gives_the_reason_and_keeps_the_old_bundle(
    start_node, ros: Node, bundles: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    node = start_node(bundle=bundles / 'first')
    refused = ask(ros, 'reload')
    assert not refused.success
    assert 'unconfigured and runs no bundle' in refused.message
    node.lifecycle.configure()
    node.lifecycle.activate()
    (bundles / 'second' / 'model.onnx').write_bytes(b'broken')
    parameters = ParameterClient(ros)
    for name, reason in (('second', 'is not the file'), ('third', 'There is no bundle')):
        assert parameters.set('bundle', str(bundles / name)) == ''
        response = ask(ros, 'reload')
        assert not response.success
        assert reason in response.message
        assert reason in node.log
    camera.subscribe('mask')
    camera.connect()
    camera.answer(flat(3))
    diagnostics.wait('model', lambda s, v: v.get('bundle', '').startswith('first@'))
    assert diagnostics.status['dgss: model'].level == DiagnosticStatus.OK


def test_a_bundle_outside_the_folders_is_refused(
    start_node, ros: Node, bundles: Path, tmp_path: Path
) -> None:
    node = start_node(bundle=bundles / 'first')
    parameters = ParameterClient(ros)
    (bundles / 'link').symlink_to(tmp_path / 'outside')
    for path in ('/etc', tmp_path / 'outside', bundles / '../outside', bundles / 'link', '..'):
        assert 'lies outside bundle_folders' in parameters.set('bundle', str(path))
    assert parameters.set('bundle', str(bundles / '../inside/second')) == ''
    assert parameters.set('bundle', '') == ''
    # A path inside the folder may become a link to the outside before it is loaded.
    assert parameters.set('bundle', str(bundles / 'later')) == ''
    (bundles / 'later').symlink_to(tmp_path / 'outside')
    with pytest.raises(Exception, match='lies outside bundle_folders'):
        node.lifecycle.configure()


def test_a_bundle_that_fails_its_self_test_is_refused(
    start_node, ros: Node, tmp_path: Path
) -> None:
    bad = write_probe_bundle(tmp_path / 'bad', frames=[reference_frame('day_0', 32, 24)])
    good = write_probe_bundle(tmp_path / 'good', frames=[reference_frame('day_0', 32)])
    # Skip the proof of the engine, which would fail before the self-test.
    node = start_node('-p', 'engine.allow_unverified:=true', bundle=bad)
    with pytest.raises(Exception, match=r'unconfigured: .*50\.0% of the pixels agree'):
        node.lifecycle.configure()
    parameters = ParameterClient(ros)
    assert parameters.set('bundle', str(good)) == ''
    node.lifecycle.configure()
    assert 'Agrees with the reference frames of the bundle in 100.00%' in node.log
    parameters.set('bundle', str(bad))
    assert '50.0% of the pixels agree' in ask(ros, 'reload').message
    node.lifecycle.cleanup()
    assert parameters.set('self_test', False) == ''
    node.lifecycle.configure()


def test_the_last_answered_frame_is_saved(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / 'new' / 'saved'
    start_node(
        *('-p', 'cameras:=[front, rear]'),
        bundle=probe_bundle,
        save_folder=folder,
        autostart=True,
    )
    refused = ask(ros, 'save_frame')
    assert not refused.success
    assert 'No frame has been answered yet' in refused.message
    camera = Camera(ros, '/dgss/front/image', '/dgss/front')
    camera.subscribe('mask')
    camera.connect()
    image = flat(100, 50)
    header = camera.answer(image)['mask'].header
    response = ask(ros, 'save_frame')
    assert response.success, response.message
    written = {Path(line).name: Path(line) for line in response.message.splitlines()}
    stem = f'front_{stamp_ns(header)}'
    assert set(written) == {
        *(f'{stem}_{name}.png' for name in ('image', 'mask', 'overlay')),
        f'{stem}.json',
    }
    assert {path.parent for path in written.values()} == {folder}
    mask = cv2.imread(str(written[f'{stem}_mask.png']), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, np.full((48, 64), 100 // 16))
    saved = cv2.imread(str(written[f'{stem}_image.png']))[..., ::-1]
    assert np.array_equal(saved, image)
    painted = cv2.imread(str(written[f'{stem}_overlay.png']))[..., ::-1]
    assert np.array_equal(painted, overlay(image, mask, LabelSet.load('cityscapes19')))
    meta = json.loads(written[f'{stem}.json'].read_text())
    assert meta['frame_id'] == header.frame_id
    assert meta['bundle'].startswith('probe@')


def test_a_folder_that_cannot_be_written_is_named(
    start_node, ros: Node, probe_bundle: Path, camera: Camera, tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('')
    start_node(bundle=probe_bundle, save_folder=tmp_path / 'file', autostart=True)
    camera.subscribe('mask')
    camera.connect()
    response = ask(ros, 'save_frame')
    assert not response.success
    assert 'file cannot be written' in response.message
    camera.answer(flat(1))


def test_a_network_that_fails_repeatedly_is_loaded_again(
    start_node, ros: Node, tmp_path: Path, camera: Camera, diagnostics: DiagnosticsReader
) -> None:
    brittle = write_probe_bundle(tmp_path / 'brittle', brightest=200)
    node = start_node(bundle=brittle, autostart=True)
    camera.subscribe('mask')
    camera.connect()
    for failed in range(1, 7):
        camera.send(flat(201))
        diagnostics.wait('frames', lambda _, v, n=failed: v['failed'] == str(n))
    assert diagnostics.status['dgss: frames'].level == DiagnosticStatus.ERROR
    assert 'failed while it ran in ONNX Runtime' in diagnostics.status['dgss: frames'].message
    assert wait_until(lambda: node.log.count('Runs brittle@') == 2, TIMEOUT_S)
    assert 'loads it anew' in node.log
    assert np.unique(to_mask(camera.answer(flat(200))['mask'])).tolist() == [200 // 16]
    with images_at(camera, 20.0, flat(200)):
        diagnostics.wait('frames', lambda s, _: s.level == DiagnosticStatus.OK)


def test_a_bundle_whose_network_fails_or_gives_unknown_ids_is_refused_in_one_sentence(
    start_node, ros: Node, tmp_path: Path, camera: Camera
) -> None:
    good = write_probe_bundle(tmp_path / 'good')
    failing = write_probe_bundle(tmp_path / 'failing', brightest=-1)
    unknown = write_probe_bundle(tmp_path / 'unknown', darkest=20)
    node = start_node(bundle=good, autostart=True)
    parameters = ParameterClient(ros)
    camera.subscribe('mask')
    camera.connect()
    for folder, sentence in (
        (failing, 'failing@.* failed while it ran in ONNX Runtime.*; try another backend'),
        (unknown, 'unknown@.* gives the id 20 in ONNX Runtime.* ends with 18; try another'),
    ):
        assert parameters.set('bundle', str(folder)) == ''
        response = ask(ros, 'reload')
        assert not response.success
        assert re.match(sentence, response.message)
        camera.answer(flat(1))
    node.lifecycle.deactivate()
    node.lifecycle.cleanup()
    parameters.set('bundle', str(failing))
    with pytest.raises(DgssError, match=r'failing@.* failed while it ran in ONNX Runtime'):
        node.lifecycle.configure()
