"""evaluate.launch.py as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from camera import TIMEOUT_S, flat
from launching import finished, launch
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dgss_core.bags import BagRecorder, read_bag, read_messages, write_bag
from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.images.frames import Frame
from dgss_ros.client.session import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.ros_apt]
START_NS = 1_700_000_000_000_000_000
FOUR = ('front', 'left', 'rear', 'right')


@pytest.fixture
def cameras(drive: Path, tmp_path: Path) -> Path:
    """The drive as four cameras see it."""
    with BagRecorder(tmp_path / 'cameras') as recorder:
        for message in read_messages(drive):
            for name in FOUR:
                topic = message.topic.replace('/camera', f'/sensing/{name}')
                recorder.record(topic, message.msgtype, message.stamp_ns, message.data)
    return tmp_path / 'cameras'


def test_an_evaluation_scores_the_masks_of_a_bag(
    probe_bundle: Path, drive: Path, tmp_path: Path
) -> None:
    criteria, output = tmp_path / 'criteria.yaml', tmp_path / 'out'
    criteria.write_text('mIoU: {all: ">= 0.99"}\ndrop_rate: "<= 0"\n')
    given = {'bag': drive, 'bundle': probe_bundle, 'criteria': criteria, 'lossless': 'true'}
    done = finished('evaluate', output=output, **given)
    assert done.returncode == 0, done.stdout
    assert '10 frames sent, 10 masks' in done.stdout
    results = json.loads((output / 'evaluation' / 'results.json').read_text())
    assert results['live']['received'] == 10
    assert [verdict['outcome'] for verdict in results['verdicts']] == ['pass', 'pass']
    assert (output / 'evaluation' / 'report.html').is_file()
    again = finished('evaluate', output=output, **given)
    assert again.returncode == 1
    assert f'{output} exists already' in again.stdout


def test_criteria_that_are_not_met_decide_the_exit_code(
    probe_bundle: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell replaces the ~ in them."""
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'criteria.yaml').write_text('latency_p99_ms: "<= 0"\n')
    output = tmp_path / 'out'
    bundle = f'~/{os.path.relpath(probe_bundle, tmp_path)}'
    given = {'bag': drive, 'bundle': bundle, 'criteria': '~/criteria.yaml', 'lossless': 'true'}
    done = finished('evaluate', output='~/out', **given)
    assert done.returncode == 1
    assert f'The evaluation is not passed; see {output / "evaluation"}' in done.stdout
    assert (output / 'evaluation' / 'report.html').is_file()


def test_an_evaluation_of_a_vehicle_scores_every_frame_of_each_camera(
    probe_bundle: Path, cameras: Path, vehicle: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'out'
    done = finished(
        'evaluate',
        bag=cameras,
        output=output,
        bundle=probe_bundle,
        params_file=vehicle,
        namespace='veh',
        cameras='front,left:rear,right',
        image='/sensing/{camera}/image_raw',
        lossless='true',
    )
    assert done.returncode == 0, done.stdout
    for name in FOUR:
        results = json.loads((output / 'evaluation' / name / 'results.json').read_text())
        assert results['problems'] == []
        assert results['live']['received'] == 10


def test_an_evaluation_takes_the_cameras_of_the_parameter_file(
    probe_bundle: Path, cameras: Path, tmp_path: Path
) -> None:
    file, output = tmp_path / 'mine.yaml', tmp_path / 'out'
    file.write_text('/veh/dgss: {ros__parameters: {cameras: [rear, front]}}')
    given = {'bag': cameras, 'params_file': file, 'lossless': 'true', 'namespace': 'veh'}
    image = '/sensing/{camera}/image_raw'
    done = finished('evaluate', output=output, bundle=probe_bundle, image=image, **given)
    assert done.returncode == 0, done.stdout
    assert sorted(each.name for each in (output / 'evaluation').iterdir()) == ['front', 'rear']


def test_an_evaluation_plays_the_images_that_the_parameter_file_asks_for(
    probe_bundle: Path, drive: Path, tmp_path: Path
) -> None:
    """Where the bag holds them raw and compressed, as a driver with image_transport sends them."""
    stamps = [START_NS + i * 200_000_000 for i in range(10)]
    frames = [Frame(f'{i}', flat(16 * i + 8), stamp) for i, stamp in enumerate(stamps)]
    write_bag(tmp_path / 'compressed', frames, compressed=True)
    file, both, output = (tmp_path / name for name in ('mine.yaml', 'both', 'out'))
    with BagRecorder(both) as recorder:
        for message in (*read_messages(tmp_path / 'compressed'), *read_messages(drive)):
            recorder.record(message.topic, message.msgtype, message.stamp_ns, message.data)
    file.write_text('/**: {ros__parameters: {image_transport: compressed}}')
    given = {'bag': both, 'params_file': file, 'lossless': 'true', 'wait': 10}
    done = finished('evaluate', output=output, bundle=probe_bundle, **given)
    assert done.returncode == 0, done.stdout
    results = json.loads((output / 'evaluation' / 'results.json').read_text())
    assert results['live']['received'] == 10


def test_an_evaluation_that_cannot_work_fails(
    probe_bundle: Path, drive: Path, tmp_path: Path
) -> None:
    broken = tmp_path / 'broken'
    broken.mkdir()
    (broken / 'manifest.json').write_text('{}')
    good = {'bag': drive, 'output': tmp_path / 'out', 'bundle': probe_bundle, 'wait': 5}
    for wrong, reason in (
        ({'bag': tmp_path / 'none'}, 'There is no bag'),
        ({'bundle': broken}, 'Images on /camera/image_raw are not answered'),
        ({'bundle': tmp_path / 'none'}, 'There is no'),
        ({'image': '/rear/image_raw'}, 'has no image topic /rear/image_raw'),
        ({'autostart': 'false'}, 'Images on /camera/image_raw are not answered'),
    ):
        done = finished('evaluate', **good | wrong)
        assert done.returncode == 1, done.stdout
        assert reason in done.stdout


def test_an_interrupted_evaluation_keeps_its_masks(
    ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    frames = [Frame(f'{i}', flat(i % 256), START_NS + i * 10**8) for i in range(600)]
    write_bag(tmp_path / 'drive', frames)
    masks: list[bytes] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, QoSProfile(depth=50), raw=True)
    output = tmp_path / 'out'
    process = subprocess.Popen(
        launch('evaluate', bag=tmp_path / 'drive', output=output, bundle=probe_bundle),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        # The first answers are to images without a stamp.
        heard = wait_until(lambda: sum(raw_stamp_ns(m) > 0 for m in masks) > 3, 3 * TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=3 * TIMEOUT_S)[0]
    finally:
        process.kill()
    assert heard, printed
    assert process.returncode == 1
    assert 'The replay was interrupted' in printed
    assert 0 < len(list(read_bag(output / 'masks', '/dgss/mask'))) < 600
