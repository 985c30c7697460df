"""Masks of a node that segments a part of the images are scored there, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread

import cv2
import pytest
from camera import TIMEOUT_S, flat
from gated import Gates
from in_process import dgss
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from streets import film

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.errors import DgssError
from dgss_core.evaluation.live import Coverage, recorded_coverage
from dgss_core.images.frames import Frame
from dgss_ros.client.session import call

pytestmark = pytest.mark.ros
ROI = (32, 24, 64, 48)
CAMERA = ('-r', '~/image:=/camera/image_raw')


def large(frame: Frame) -> Frame:
    """The frame in twice the size, 128x96, of which the network takes every second pixel."""
    assert frame.labels is not None
    double = {'fx': 2, 'fy': 2, 'interpolation': cv2.INTER_NEAREST}
    image, labels = (cv2.resize(plane, None, **double) for plane in (frame.image, frame.labels))
    return Frame(frame.name, image, frame.stamp_ns, labels)


def evaluated(drive: Path, masks: Path, output: Path) -> dict:
    done = dgss(
        *('evaluate', '--bag', str(drive), '--predictions', str(masks), '--output', str(output)),
        *('--label-set', 'cityscapes19', '--mask-topic', '/dgss/mask'),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((output / 'results.json').read_text())['conditions']['all']


@pytest.mark.parametrize('size', ['input', 'network'])
@pytest.mark.parametrize('roi', [None, ROI])
def test_a_region_is_scored_where_it_lies(
    start_node,
    probe_bundle: Path,
    tmp_path: Path,
    size: str,
    roi: tuple[int, int, int, int] | None,
) -> None:
    drive, masks = tmp_path / 'drive', tmp_path / 'masks'
    write_bag(drive, [large(frame) for frame in film(4)])
    given = {'output.size': size} | ({'input.roi': str([*roi])} if roi else {})
    start_node(*CAMERA, bundle=probe_bundle, autostart=True, **given)
    done = dgss('bag', 'replay', str(drive), '--output', str(masks), '--lossless')
    assert done.returncode == 0, done.stdout + done.stderr
    assert recorded_coverage(masks, '/dgss/mask') == Coverage(roi, size == 'network')
    score = evaluated(drive, masks, tmp_path / 'scores')
    assert score['miou'] > 0.95
    assert score['labelled_pixels'] == 4 * (64 * 48 if roi else 128 * 96)


def test_a_camera_has_its_own_region(start_node, probe_bundle: Path, tmp_path: Path) -> None:
    names = ('front', 'left', 'rear')
    drive, masks = tmp_path / 'drive', tmp_path / 'masks'
    write_bag(tmp_path / 'one', [Frame('0', flat(32, size=(128, 96)), 10**18)])
    with BagRecorder(drive) as recorder:
        for message in read_messages(tmp_path / 'one', {'/camera/image_raw'}):
            for name in names:
                topic = f'/{name}/image_raw'
                recorder.record(topic, message.msgtype, message.stamp_ns, message.data)
    start_node(
        *(f for n in names for f in ('-r', f'~/{n}/image:=/{n}/image_raw')),
        bundle=probe_bundle,
        cameras='[front, left, rear]',
        autostart=True,
        **{'input.roi': str([*ROI]), 'left.roi': '[0, 0, 0, 0]', 'rear.roi': '[8, 8, 16, 16]'},
    )
    cameras = ('--cameras', 'front,left,rear', '--image', '/{camera}/image_raw')
    done = dgss('bag', 'replay', str(drive), '--output', str(masks), '--lossless', *cameras)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {n: recorded_coverage(masks, f'/dgss/{n}/mask').roi for n in names}
    assert found == {'front': ROI, 'left': None, 'rear': (8, 8, 16, 16)}


def test_a_region_that_changes_is_no_recording_to_score(
    gates: Gates, start_node, ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    # Their red is above that of the grey images that a replay sends first.
    frames = [Frame(f'{i}', flat(240 + i, size=(128, 96)), 10**18 + i * 10**8) for i in range(8)]
    drive, masks = write_bag(tmp_path / 'drive', frames).path, tmp_path / 'masks'
    start_node(*CAMERA, bundle=probe_bundle, backend=gates.backend, autostart=True)
    client = ros.create_client(SetParameters, '/dgss/set_parameters')
    roi = Parameter('input.roi', value=[*ROI]).to_parameter_msg()

    def change() -> None:
        gates.wait('held probe')
        call(client, SetParameters.Request(parameters=[roi]), TIMEOUT_S)
        gates.open('hold-red-probe')

    gates.close('hold-red-probe', red=245)
    changing = Thread(target=change)
    changing.start()
    done = dgss('bag', 'replay', str(drive), '--output', str(masks), '--lossless')
    changing.join()
    assert done.returncode == 2
    assert 'The roi of /dgss has changed during the replay' in done.stderr
    with pytest.raises(DgssError, match='the roi has changed meanwhile'):
        recorded_coverage(masks, '/dgss/mask')
