"""`dgss bag replay` through a node that ends, hangs, is deactivated, is slow or rejects images."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from camera import TIMEOUT_S, flat
from gated import Gates
from in_process import dgss
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dgss_core.bags import BagRecorder, read_bag, read_messages, write_bag
from dgss_core.bags.stored import raw_stamp_ns
from dgss_core.images.frames import Frame
from dgss_ros.client import node_watch
from dgss_ros.client.session import wait_until
from dgss_ros.node.naming import CameraTopics
from dgss_ros.replay import answers
from dgss_ros.replay.replay import keep_rest

pytestmark = pytest.mark.ros
START_NS = 1_700_000_000_000_000_000
CAMERA = ('-r', '~/image:=/camera/image_raw')
LONG = 600


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A minute, of which only the first second is replayed."""
    frames = [Frame(f'{i}', flat(i % 256), START_NS + i * 100_000_000) for i in range(LONG)]
    return write_bag(tmp_path / 'drive', frames).path


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_watch, 'SILENCE_S', 2.0)


def replay(drive: Path, output: Path, *options: str) -> CompletedProcess:
    return dgss('bag', 'replay', str(drive), '--output', str(output), *options)


def replay_until(
    act: Callable[[], object], ros: Node, drive: Path, output: Path, *options: str
) -> CompletedProcess:
    """Replay the drive; call `act` once some masks were received."""
    masks: list[bytes] = []
    ros.create_subscription(Image, '/dgss/mask', masks.append, QoSProfile(depth=50), raw=True)
    # The first answers are to images without a stamp.
    return replay_when(lambda: sum(map(has_stamp, masks)) > 3, act, drive, output, *options)


def replay_when(
    is_time: Callable[[], bool],
    act: Callable[[], object],
    drive: Path,
    output: Path,
    *options: str,
) -> CompletedProcess:
    """Replay the drive; call `act` once it is time."""
    is_over = threading.Event()

    def wait_and_act() -> None:
        wait_until(lambda: is_over.is_set() or is_time(), TIMEOUT_S)
        if not is_over.is_set():
            act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    done = replay(drive, output, *options)
    is_over.set()
    thread.join()
    return done


def has_stamp(mask: bytes) -> bool:
    return raw_stamp_ns(mask) > 0


def check_kept(done: CompletedProcess, output: Path) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert f'masks are kept in {output}.' in done.stderr
    assert 'A busy node' not in done.stdout
    assert 0 < len(list(read_bag(output, '/dgss/mask'))) < 100


def test_what_cannot_be_written_any_more_hides_no_error(
    ros: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = {'/image': CameraTopics('/image', '/dgss', '/dgss')}
    with BagRecorder(tmp_path / 'masks') as bag:
        of = answers.Answers(ros, bag, cameras, lambda: None)
    keep_rest(of, {'/image': {1: 0.0}}, tmp_path / 'masks')
    assert 'The last masks are not kept: ' in capsys.readouterr().err


@pytest.mark.parametrize('options', [('--lossless', '--rate', '0.3'), ()])
def test_a_node_that_ends_is_told_at_once(
    start_node, ros: Node, probe_bundle: Path, drive: Path, tmp_path: Path, options: tuple
) -> None:
    node = start_node(*CAMERA, bundle=probe_bundle, autostart=True)
    output = tmp_path / 'masks'
    begun_s = time.monotonic()
    done = replay_until(lambda: node.end(signal.SIGINT), ros, drive, output, *options)
    assert time.monotonic() - begun_s < 20
    check_kept(done, output)
    assert 'dgss: error: The node /dgss has ended; see its log, start it again' in done.stderr


@pytest.mark.parametrize(
    ('number', 'options'),
    [(signal.SIGKILL, ('--lossless',)), (signal.SIGKILL, ()), (signal.SIGSTOP, ('--lossless',))],
)
def test_a_node_that_was_killed_or_hangs_is_told(
    start_node,
    ros: Node,
    probe_bundle: Path,
    drive: Path,
    tmp_path: Path,
    short_silence: None,
    number: int,
    options: tuple,
) -> None:
    """The middleware knows of its endpoints for 20 s more."""
    node = start_node(*CAMERA, bundle=probe_bundle, autostart=True)
    output = tmp_path / 'masks'
    done = replay_until(lambda: node.process.send_signal(number), ros, drive, output, *options)
    node.process.kill()
    check_kept(done, output)
    assert 'The node /dgss has ended or hangs: it has not answered for 2 s' in done.stderr


def test_a_node_that_is_killed_at_the_last_images_is_told(
    gates: Gates, start_node, probe_bundle: Path, tmp_path: Path, short_silence: None
) -> None:
    # Their red is above that of the grey images that a replay sends first.
    frames = [Frame(f'{i}', flat(240 + i), START_NS + i * 100_000_000) for i in range(8)]
    drive, output = write_bag(tmp_path / 'drive', frames).path, tmp_path / 'masks'
    node = start_node(*CAMERA, bundle=probe_bundle, backend=gates.backend, autostart=True)
    gates.close('hold-red-probe', red=245)
    done = replay_when(
        lambda: gates.count('held probe') > 0, lambda: node.end(signal.SIGKILL), drive, output
    )
    check_kept(done, output)
    assert 'The node /dgss has ended or hangs' in done.stderr


@pytest.mark.parametrize(
    ('transition', 'sentence'),
    [
        ('deactivate', 'inactive; make it active, and repeat'),
        ('shutdown', 'finalized; start it again, and repeat'),
    ],
)
def test_a_node_that_is_no_longer_active_is_told_with_its_state(
    start_node,
    ros: Node,
    probe_bundle: Path,
    drive: Path,
    tmp_path: Path,
    transition: str,
    sentence: str,
) -> None:
    lifecycle = start_node(*CAMERA, bundle=probe_bundle, autostart=True).lifecycle
    output = tmp_path / 'masks'
    done = replay_until(getattr(lifecycle, transition), ros, drive, output, '--lossless')
    check_kept(done, output)
    assert f'The node /dgss is no longer active, but {sentence}' in done.stderr


def test_the_state_of_a_node_that_never_answers_is_told(
    start_node, probe_bundle: Path, drive: Path, tmp_path: Path
) -> None:
    lifecycle = start_node(*CAMERA, bundle=probe_bundle).lifecycle
    lifecycle.configure()
    done = replay(drive, tmp_path / 'masks', '--wait', '3')
    assert done.returncode == 2
    assert 'are not answered (waited 3 s; /dgss is inactive)' in done.stderr


def test_a_slow_node_is_not_taken_for_a_dead_one(
    start_node,
    probe_bundle: Path,
    tmp_path: Path,
    short_silence: None,
) -> None:
    frames = [Frame(f'{i}', flat(i), START_NS + i * 100_000_000) for i in range(1)]
    drive, output = write_bag(tmp_path / 'drive', frames).path, tmp_path / 'masks'
    slow = {'backend': 'null:2500', 'self_test': False}
    start_node(*CAMERA, bundle=probe_bundle, autostart=True, **slow)
    done = replay(drive, output, '--lossless')
    assert done.returncode == 0, done.stdout + done.stderr
    assert '1 frame sent, 1 mask' in done.stdout


def test_a_network_that_hangs_is_told(
    gates: Gates,
    start_node,
    ros: Node,
    probe_bundle: Path,
    drive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, 'UNANSWERED_S', 2.0)
    monkeypatch.setattr(answers, 'EACH_S', 0.2)
    output = tmp_path / 'masks'
    start_node(*CAMERA, bundle=probe_bundle, backend=gates.backend, autostart=True)
    gate = 'hold-run-probe'
    done = replay_until(lambda: gates.close(gate), ros, drive, output, '--lossless')
    gates.open(gate)
    check_kept(done, output)
    sentence = 'The node /dgss is active, but has answered no image on /camera/image_raw for 2 s'
    assert sentence in done.stderr


def test_images_that_the_node_rejects_are_told_and_not_waited_for(
    start_node, probe_bundle: Path, tmp_path: Path
) -> None:
    frames = [Frame(f'{i}', flat(16 * i), START_NS + i * 500_000_000) for i in range(8)]
    write_bag(tmp_path / 'good', frames)
    with BagRecorder(tmp_path / 'drive') as recorder:
        for index, message in enumerate(read_messages(tmp_path / 'good', {'/camera/image_raw'})):
            data = message.data.replace(b'bgr8', b'odd8') if index in (4, 5) else message.data
            recorder.record(message.topic, message.msgtype, message.stamp_ns, data)
    start_node(*CAMERA, bundle=probe_bundle, autostart=True)
    begun_s = time.monotonic()
    done = replay(tmp_path / 'drive', tmp_path / 'masks', '--lossless')
    assert time.monotonic() - begun_s < 15
    assert done.returncode == 1, done.stdout + done.stderr
    printed = ' '.join(done.stdout.split())
    assert '8 frames sent, 6 masks' in printed
    assert '2 frames got no mask. The node could not answer some images, the last one:' in printed
    assert 'odd8' in printed
    assert 'A busy node' not in printed
