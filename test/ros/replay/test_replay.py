"""`dgss bag replay` against a running node, as evaluate.launch.py calls it."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, flat
from in_process import dgss
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dgss_core.bags import BagRecorder, bag_info, read_bag, read_messages, write_bag
from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.evaluation.live import live_results, recorded_labels
from dgss_core.images.frames import Frame
from dgss_core.runtime.bundle import open_bundle
from dgss_ros.client.session import wait_until

pytestmark = pytest.mark.ros
START_NS = 1_700_000_000_000_000_000


def replay(bag: Path, output: Path, *options: str) -> subprocess.CompletedProcess:
    return dgss('bag', 'replay', str(bag), '--output', str(output), *options)


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_a_bag_goes_through_a_running_node(
    start_node, probe_bundle: Path, tmp_path: Path, transport: str
) -> None:
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(8)]
    write_bag(tmp_path / 'drive', frames, compressed=transport == 'compressed')
    start_node(
        *('-r', '~/image:=/camera/image_raw'),
        bundle=probe_bundle,
        autostart=True,
        image_transport=transport,
    )
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless', '--rate', '0.5')
    assert done.returncode == 0, done.stderr
    assert '8 frames sent, 8 masks' in done.stdout
    assert 'Latency p50' in done.stdout
    recorded = bag_info(tmp_path / 'masks')
    topics = {topic.name: topic.count for topic in recorded.topics}
    assert topics.pop('/diagnostics') >= 1
    # The diagnostics, whose stamps are of today, lie at the time of the drive.
    assert recorded.start_ns >= START_NS
    assert recorded.start_ns + recorded.duration_ns <= frames[-1].stamp_ns
    assert topics == {
        '/dgss/mask': 8,
        '/dgss/confidence': 8,
        '/dgss/labels': 1,
        '/dgss/replay': 1,
    }
    labels = recorded_labels(tmp_path / 'masks', '/dgss/mask')
    assert labels == open_bundle(probe_bundle).labels
    # Who plays the masks has their labels before the first, however late it listens.
    first = next(m for m in read_messages(tmp_path / 'masks') if m.topic != '/diagnostics')
    assert (first.topic, first.stamp_ns) == ('/dgss/labels', frames[0].stamp_ns)
    assert [topic.name for topic in recorded.topics if topic.latched] == ['/dgss/labels']
    live = live_results(tmp_path / 'masks', '/dgss/mask')
    assert live is not None
    assert (live['sent'], live['received'], live['drop_rate']) == (8, 8, 0)
    assert 0 < live['latency_ms']['p50'] <= live['latency_ms']['p99']
    masks = list(read_bag(tmp_path / 'masks', '/dgss/mask'))
    for sent, mask in zip(frames, masks, strict=True):
        assert mask.stamp_ns == sent.stamp_ns
        if transport == 'raw':
            assert np.unique(mask.image).tolist() == [sent.image[0, 0, 0] // 16]


def test_frames_without_a_mask_are_reported_and_a_lossless_replay_has_none(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    """A drive that is much faster than the network."""
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 10_000_000) for i in range(8)]
    write_bag(tmp_path / 'drive', frames)
    start_node(
        *('-r', '~/image:=/camera/image_raw'),
        bundle=probe_bundle,
        backend='null:200',
        self_test=False,
        autostart=True,
    )
    done = replay(tmp_path / 'drive', tmp_path / 'masks')
    assert done.returncode == 1, done.stderr
    assert 'frames got no mask. A busy node takes only the newest image' in done.stdout
    done = replay(tmp_path / 'drive', tmp_path / 'all', '--lossless')
    assert done.returncode == 0, done.stderr
    assert '8 frames sent, 8 masks' in done.stdout
    assert 'got no mask' not in done.stdout


def test_loops_are_all_timed_and_recorded_once(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    """Also by a node that takes only images of the time on /clock, which goes back."""
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 50_000_000) for i in range(6)]
    write_bag(tmp_path / 'drive', frames)
    options = ('-p', 'input.max_age_ms:=500.0', '-r', '~/image:=/camera/image_raw')
    start_node(*options, bundle=probe_bundle, autostart=True, use_sim_time=True)
    given = ('--loops', '3', '--lossless', '--clock', '--rate', '2')
    done = replay(tmp_path / 'drive', tmp_path / 'masks', *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '18 frames sent, 18 masks; those of the first time are in' in done.stdout
    assert 'had no stamp' not in done.stdout
    live = live_results(tmp_path / 'masks', '/dgss/mask')
    assert live is not None
    assert (live['sent'], live['received'], live['drop_rate']) == (18, 18, 0)
    masks = list(read_bag(tmp_path / 'masks', '/dgss/mask'))
    assert [mask.stamp_ns for mask in masks] == [frame.stamp_ns for frame in frames]
    wrong = replay(tmp_path / 'drive', tmp_path / 'none', '--loops', '0')
    assert wrong.returncode == 2
    assert '--loops is 0; give at least 1.' in wrong.stderr


@pytest.mark.parametrize('kind', ['zero', 'double'])
def test_images_without_stamps_of_their_own_get_masks_of_their_own(
    start_node, probe_bundle: Path, tmp_path: Path, kind: str
) -> None:
    """A driver that does not stamp its images, and one that stamps two alike."""
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(6)]
    write_bag(tmp_path / 'good', frames)
    with BagRecorder(tmp_path / 'drive') as recorder:
        for index, message in enumerate(read_messages(tmp_path / 'good', {'/camera/image_raw'})):
            stamp_ns = 0 if kind == 'zero' else frames[index - index % 2].stamp_ns
            stamp = struct.pack('<iI', *divmod(stamp_ns, 10**9))
            data = message.data[:4] + stamp + message.data[12:]
            recorder.record(message.topic, message.msgtype, message.stamp_ns, data)
    start_node(*('-r', '~/image:=/camera/image_raw'), bundle=probe_bundle, autostart=True)
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless')
    assert done.returncode == 0, done.stderr
    changed = 6 if kind == 'zero' else 3
    assert f'{changed} images had no stamp, or that of an image before them' in done.stdout
    assert '6 frames sent, 6 masks' in done.stdout
    masks = list(read_bag(tmp_path / 'masks', '/dgss/mask'))
    assert [np.unique(mask.image).tolist() for mask in masks] == [[i] for i in range(6)]
    if kind == 'zero':
        assert [mask.stamp_ns for mask in masks] == [frame.stamp_ns for frame in frames]


def test_stamps_of_zero_and_less_are_none(start_node, probe_bundle: Path, tmp_path: Path) -> None:
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(6)]
    write_bag(tmp_path / 'good', frames)
    stamps = [-1_000_000_000 + 400_000_000 * i for i in range(6)]
    with BagRecorder(tmp_path / 'drive') as recorder:
        for stamp, message in zip(
            stamps, read_messages(tmp_path / 'good', {'/camera/image_raw'}), strict=True
        ):
            data = message.data[:4] + struct.pack('<iI', *divmod(stamp, 10**9)) + message.data[12:]
            recorder.record(message.topic, message.msgtype, message.stamp_ns, data)
    start_node(*('-r', '~/image:=/camera/image_raw'), bundle=probe_bundle, autostart=True)
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless')
    assert done.returncode == 0, done.stderr
    assert '3 images had no stamp, or that of an image before them' in done.stdout
    masks = {m.stamp_ns: m.image[0, 0, 0] for m in read_bag(tmp_path / 'masks', '/dgss/mask')}
    given = [*(frame.stamp_ns for frame in frames[:3]), *stamps[3:]]
    assert masks == {stamp: index for index, stamp in enumerate(given)}


def test_frames_that_were_sent_again_have_no_latency(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    """A node that skips every second image; the replay sends it again after two seconds."""
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(6)]
    write_bag(tmp_path / 'drive', frames)
    options = ('-p', 'input.max_rate:=5.0', '-r', '~/image:=/camera/image_raw')
    start_node(*options, bundle=probe_bundle, autostart=True)
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless')
    assert done.returncode == 0, done.stderr
    assert '6 frames sent, 6 masks' in done.stdout
    live = live_results(tmp_path / 'masks', '/dgss/mask')
    assert live is not None
    assert live['received'] == 6
    assert live['resent'] >= 2
    assert len(live['latencies_ms']) == 6 - live['resent']
    assert max(live['latencies_ms']) < 2000
    assert f'{live["resent"]} frames got no mask at first and were sent again' in done.stdout


def test_a_recording_that_was_cut_off_is_replayed_and_said(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(6)]
    write_bag(tmp_path / 'drive', frames)
    (file,) = (tmp_path / 'drive').glob('*.mcap')
    (tmp_path / 'cut.mcap').write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    start_node(*('-r', '~/image:=/camera/image_raw'), bundle=probe_bundle, autostart=True)
    done = replay(tmp_path / 'cut.mcap', tmp_path / 'masks', '--lossless')
    assert done.returncode == 1
    assert 'cut.mcap was cut off' in done.stderr
    count = int(done.stdout.split(' frames sent')[0].split()[-1])
    assert 0 < count < 6
    assert f'{count} frames sent, {count} masks' in done.stdout


def test_a_vehicle_s_own_parameters_are_met(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    """A region beyond a small image, and an age that only the time of the bag keeps."""
    frames = [
        Frame(f'{i}', flat(16 * i, size=(128, 96)), START_NS + i * 100_000_000) for i in range(6)
    ]
    write_bag(tmp_path / 'drive', frames)
    start_node(
        *('-r', '~/image:=/camera/image_raw'),
        bundle=probe_bundle,
        autostart=True,
        use_sim_time=True,
        **{'input.roi': '[70, 50, 40, 30]', 'input.max_age_ms': 400.0},
    )
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless', '--clock')
    assert done.returncode == 0, done.stderr
    assert '6 frames sent, 6 masks' in done.stdout
    for index, mask in enumerate(read_bag(tmp_path / 'masks', '/dgss/mask')):
        assert np.unique(mask.image[50:80, 70:110]).tolist() == [index]
        assert (mask.image[:50] == 255).all()


def test_several_cameras_are_replayed_without_what_the_vehicle_recorded(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 100_000_000) for i in range(5)]
    write_bag(tmp_path / 'one', frames)
    with BagRecorder(tmp_path / 'drive') as recorder:
        for message in read_messages(tmp_path / 'one', {'/camera/image_raw'}):
            for topic in ('/front/image_raw', '/left/image_raw', '/veh/dgss/front/mask'):
                recorder.record(topic, message.msgtype, message.stamp_ns, message.data)
    start_node(
        *('-r', '__ns:=/veh'),
        *('-r', '~/front/image:=/front/image_raw', '-r', '~/left/image:=/left/image_raw'),
        bundle=probe_bundle,
        cameras='[front, left]',
        autostart=True,
    )
    cameras = ('--cameras', 'front,left', '--image', '/{camera}/image_raw', '--node', '/veh/dgss')
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless', *cameras)
    assert done.returncode == 0, done.stderr
    for name in ('front', 'left'):
        assert f'5 frames of /{name}/image_raw sent, 5 masks' in ' '.join(done.stdout.split())
        masks = list(read_bag(tmp_path / 'masks', f'/veh/dgss/{name}/mask'))
        assert [np.unique(mask.image).tolist() for mask in masks] == [[i] for i in range(5)]
        live = live_results(tmp_path / 'masks', f'/veh/dgss/{name}/mask')
        assert live is not None
        assert live['received'] == 5


def test_a_missing_node_is_reported(tmp_path: Path) -> None:
    write_bag(tmp_path / 'drive', [Frame('0', flat(1), START_NS)])
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--wait', '1')
    assert done.returncode == 2
    assert 'Images on /camera/image_raw are not answered (waited 1 s)' in done.stderr
    assert 'no node /dgss answers; start it, or give --node' in done.stderr


def test_ctrl_c_keeps_what_was_recorded(
    start_node, ros: Node, probe_bundle: Path, tmp_path: Path
) -> None:
    frames = [Frame(f'{i}', flat(i), START_NS + i * 100_000_000) for i in range(200)]
    write_bag(tmp_path / 'drive', frames)
    start_node(*('-r', '~/image:=/camera/image_raw'), bundle=probe_bundle, autostart=True)
    masks: list[bytes] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, QoSProfile(depth=50), raw=True)
    command = [sys.executable, '-m', 'dgss_core', 'bag', 'replay', str(tmp_path / 'drive')]
    process = subprocess.Popen(
        [*command, '--output', str(tmp_path / 'masks')], stderr=subprocess.PIPE, text=True
    )
    try:
        # The first answers are to images without a stamp.
        assert wait_until(lambda: sum(raw_stamp_ns(mask) > 0 for mask in masks) > 3, TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=TIMEOUT_S)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert f'masks are kept in {tmp_path / "masks"}' in errors
    assert 0 < len(list(read_bag(tmp_path / 'masks', '/dgss/mask'))) < 200
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == '.') == []
