"""Bags played from one process to another."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S
from foreign_bags import TOPIC, Mcap, images, mcap, metadata
from in_process import dgss
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from dgss_core.bags import BagRecorder, read_messages, write_bag
from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.commands.interrupts import WAITING
from dgss_core.errors import DgssError
from dgss_core.images.frames import Frame
from dgss_ros.client.session import wait_until
from dgss_ros.node.qos import LATCHED_QOS
from dgss_ros.replay.bag_play import BagPlayer

pytestmark = pytest.mark.ros
COUNT = 60
PLAY = [sys.executable, '-m', 'dgss_core', 'bag', 'play']


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of 640x360 (691 kB each, more than the default shared memory) at 20 Hz."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('bags') / 'drive'
    frames = (
        Frame(
            name=f'{i:06d}',
            image=random.integers(0, 256, (360, 640, 3), np.uint8),
            stamp_ns=1_700_000_000_000_000_000 + i * 50_000_000,
            condition='day' if i < COUNT // 2 else 'night',
        )
        for i in range(COUNT)
    )
    write_bag(path, frames)
    return path


def collect(ros: Node, topic: str, kind: type = Image) -> list[bytes]:
    received: list[bytes] = []
    ros.create_subscription(kind, topic, received.append, QoSProfile(depth=1000), raw=True)
    return received


def content(bag: Path, topic: str) -> list[bytes]:
    return [message.data for message in read_messages(bag, {topic})]


def test_every_message_arrives_byte_for_byte_when_acknowledged(ros: Node, bag: Path) -> None:
    images = collect(ros, '/camera/image_raw')
    infos = collect(ros, '/front/info', CameraInfo)
    done = subprocess.run(
        [
            *PLAY,
            str(bag),
            '--as_fast_as_acknowledged=true',
            '--remap=/camera/camera_info:=/front/info',
            '--wait_for_subscribers=2',
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert f'Published {2 * COUNT + 2} messages' in ' '.join(done.stdout.split())
    assert wait_until(lambda: len(images) >= COUNT and len(infos) >= COUNT, TIMEOUT_S)
    assert images == content(bag, '/camera/image_raw')
    # DDS pads a message to four bytes.
    for info, recorded in zip(infos, content(bag, '/camera/camera_info'), strict=True):
        assert info[: len(recorded)] == recorded
        assert len(info) - len(recorded) < 4


def test_the_times_of_the_bag_are_kept_at_a_rate(ros: Node, bag: Path) -> None:
    stamps = collect(ros, '/camera/camera_info', CameraInfo)
    player = BagPlayer(ros, bag, ['/camera/camera_info'])
    assert player.count == COUNT
    assert player.wait_for_subscribers(1, TIMEOUT_S)
    published = list(player.play(rate=4.0))
    expected = np.arange(COUNT) * 0.05 / 4
    times = np.array([item.time_s for item in published]) - published[0].time_s
    late = times - expected
    # A busy machine may publish some messages late, even the first.
    assert abs(np.median(late)) < 0.05
    assert late.min() > -0.2
    player.flush()
    assert wait_until(lambda: len(stamps) == COUNT, TIMEOUT_S)
    assert [raw_stamp_ns(raw) for raw in stamps] == [m.message.stamp_ns for m in published]


def test_a_latched_topic_reaches_a_late_subscriber(ros: Node, bag: Path) -> None:
    player = BagPlayer(ros, bag, ['/camera/condition'], as_fast_as_acknowledged=True)
    assert len(list(player.play())) == 2
    received: list[String] = []
    ros.create_subscription(String, '/camera/condition', received.append, LATCHED_QOS)
    assert wait_until(lambda: bool(received), TIMEOUT_S)
    assert [message.data for message in received] == ['night']


@pytest.mark.parametrize('signal_number', [signal.SIGINT, signal.SIGTERM])
def test_an_endless_play_ends_cleanly(ros: Node, bag: Path, signal_number: int) -> None:
    received = collect(ros, '/camera/camera_info', CameraInfo)
    process = subprocess.Popen(
        [*PLAY, str(bag), '--loop=true', '--rate=20', '--topics=/camera/camera_info'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert wait_until(lambda: len(received) > COUNT, TIMEOUT_S)
        process.send_signal(signal_number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert err in ('', f'{WAITING}\n')  # acknowledgements are late on a busy machine
    assert 'Interrupted.' in out


def test_a_play_that_is_interrupted_says_so_by_its_exit_code(ros: Node, bag: Path) -> None:
    received = collect(ros, '/camera/camera_info', CameraInfo)
    slow = [*PLAY, str(bag), '--rate=0.1', '--topics=/camera/camera_info']
    process = subprocess.Popen(slow, stdout=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: len(received) > 1, TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert 'Interrupted.' in out


def test_an_endless_play_of_nothing_ends(tmp_path: Path) -> None:
    with BagRecorder(tmp_path / 'times') as recorder:
        recorder.record('/clock', 'rosgraph_msgs/msg/Clock', 1, b'\x00\x01\x00\x00' + bytes(8))
    done = dgss('bag', 'play', str(tmp_path / 'times'), '--loop', '--clock')
    assert done.returncode == 1
    assert 'Published 0' in done.stdout


def test_wrong_requests_are_refused_in_one_sentence(ros: Node, bag: Path, tmp_path: Path) -> None:
    with pytest.raises(DgssError, match='There is no bag'):
        BagPlayer(ros, tmp_path / 'nothing')
    with pytest.raises(DgssError, match='has no topic /rear; it has /camera/camera_info'):
        BagPlayer(ros, bag, ['/rear'])
    with pytest.raises(DgssError, match='is not a remapping'):
        BagPlayer(ros, bag, remap=['/a=/b'])
    with pytest.raises(DgssError, match='has no topic /camera/image_rw to remap; it has /camera'):
        BagPlayer(ros, bag, remap=['/camera/image_rw:=/b'])
    for rate in (0.0, -1.0, float('nan'), float('inf')):
        with pytest.raises(DgssError, match='is not a rate'):
            next(BagPlayer(ros, bag).play(rate))
    for verb in (['play', str(bag)], ['replay', str(bag), '--output', str(tmp_path / 'masks')]):
        done = dgss('bag', *verb, '--rate', '0')
        assert done.returncode == 2
        assert '0.0 is not a rate to play at' in done.stderr
    done = dgss('bag', 'play', str(tmp_path / 'nothing'))
    assert done.returncode == 2
    assert done.stderr.startswith('dgss: error: There is no bag')


def test_a_topic_of_a_type_that_is_not_installed_is_skipped_with_a_reason(
    ros: Node, tmp_path: Path
) -> None:
    path = tmp_path / 'mixed'
    with BagRecorder(path) as recorder:
        recorder.record('/odometry', 'nav_msgs/msg/Odometry', 1, b'\x00\x01\x00\x00')
        recorder.record(
            '/name', 'std_msgs/msg/String', 2, b'\x00\x01\x00\x00\x02\x00\x00\x00a\x00'
        )
    player = BagPlayer(ros, path)
    if player.skipped:
        assert player.skipped == {'/odometry': 'its type nav_msgs/msg/Odometry is not installed'}
        with pytest.raises(DgssError, match='/odometry cannot be played'):
            BagPlayer(ros, path, ['/odometry'])
    assert [p.message.topic for p in player.play(1e9)][-1] == '/name'


def test_the_time_of_the_bag_is_published_in_place_of_a_recorded_one(
    ros: Node, tmp_path: Path
) -> None:
    start_ns, step_ns = 1_700_000_000_000_000_000, 200_000_000
    name = b'\x00\x01\x00\x00\x02\x00\x00\x00a\x00'
    zero = bytes([0, 1, *[0] * 10])
    with BagRecorder(tmp_path / 'bag') as recorder:
        for index in range(3):
            stamp_ns = start_ns + index * step_ns
            recorder.record('/name', 'std_msgs/msg/String', stamp_ns, name)
            recorder.record('/clock', 'rosgraph_msgs/msg/Clock', stamp_ns, zero)
    received: list[Clock] = []
    ros.create_subscription(Clock, '/clock', received.append, 200)
    player = BagPlayer(ros, tmp_path / 'bag', clock=True)
    assert player.skipped.keys() == {'/clock'}
    assert wait_until(lambda: player.tell_start() or len(received) > 0, TIMEOUT_S)
    received.clear()
    assert [p.message.topic for p in player.play()] == ['/name'] * 3
    assert wait_until(lambda: received[-1].clock.nanosec == 2 * step_ns, TIMEOUT_S)
    times = [m.clock.sec * 10**9 + m.clock.nanosec for m in received]
    assert times == sorted(times)
    assert min(times) >= start_ns
    assert len(times) > 10  # Not only with the messages.


def test_a_jump_of_the_clock_is_skipped_and_told(ros: Node, tmp_path: Path) -> None:
    """Recorded with simulated time: the first message came before the first /clock."""
    sent = images(4)
    times = [0, *(stamp_ns for stamp_ns, _ in sent[1:3]), sent[3][0] - 10**18]
    drive = [(stamp_ns, data) for stamp_ns, (_, data) in zip(times, sent, strict=True)]
    path = mcap(tmp_path / 'drive.mcap', drive, use_chunking=False)
    told: list[str] = []
    player = BagPlayer(ros, path, report=told.append)
    published = list(player.play())
    assert [item.message.stamp_ns for item in published] == times
    assert published[-1].time_s - published[0].time_s < 60
    assert told == [
        'The bag is without a message for 53.9 years, as a clock jumped; that is skipped.',
        'The bag goes back in time for 31.7 years, as a clock jumped; that is skipped.',
    ]


def test_what_a_bag_lacks_is_said_by_play(tmp_path: Path) -> None:
    mcap(tmp_path / 'a_0.mcap')
    metadata(tmp_path, ['a_0.mcap'], 20)
    done = dgss('bag', 'play', str(tmp_path))
    printed = ' '.join(done.stdout.split())
    assert done.returncode == 1, done.stderr
    assert '6 of 20 messages of /camera/image_raw are there' in printed
    assert 'Published 6 of 20 messages' in printed


def test_what_ros_cannot_publish_is_left_out(ros: Node, tmp_path: Path) -> None:
    made = Mcap(tmp_path / 'a.mcap').add(images())
    made.add([(1, b'{}')], '/odom', 'sensor_msgs/msg/Image', 'json', 'jsonschema')
    for name in ('', 'a b', '/[/b]', '/x\x1b[31m', '/{'):
        made.add(images(1), name)
    made.add(images(2), kind='std_msgs/msg/String')
    path = made.close()
    player = BagPlayer(ros, path)
    assert player.skipped.keys() == {'', 'a b', '/[/b]', '/x\x1b[31m', '/{', '/odom', TOPIC}
    assert player.skipped['/odom'] == 'its messages are json, not the CDR of ROS 2'
    assert 'a second type' in player.skipped[TOPIC]
    assert player.count == len(list(player.play(1e9))) == 6
    done = dgss('bag', 'play', str(path))
    assert done.returncode == 0, done.stderr
    assert '/[/b]' in done.stdout
    assert '\x1b' not in done.stdout


class ToldError(Exception):
    """What was told first."""


def test_a_long_wait_is_told(ros: Node, tmp_path: Path) -> None:
    sent = images(2)
    later = sent[0][0] + 960 * 10**9
    path = mcap(tmp_path / 'drive.mcap', [sent[0], (later, sent[1][1])])

    def tell(line: str) -> None:
        raise ToldError(line)

    with pytest.raises(ToldError, match=r'The next message comes in 16\.0 min\.'):
        list(BagPlayer(ros, path, report=tell).play())


def test_a_type_that_is_not_that_of_the_file_is_told_and_played(ros: Node, tmp_path: Path) -> None:
    mcap(tmp_path / 'a_0.mcap')
    metadata(tmp_path, ['a_0.mcap'], 6)
    path = tmp_path / 'metadata.yaml'
    path.write_text(path.read_text().replace('msg/Image', 'msg/CompressedImage'))
    told: list[str] = []
    player = BagPlayer(ros, tmp_path, report=told.append)
    assert player.count == len(list(player.play(1e9))) == 6
    assert not player.is_short
    assert ['they are trusted' in line for line in told] == [True]
