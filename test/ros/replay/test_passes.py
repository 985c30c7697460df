"""The time of a bag on /clock, the passes of an endless play, and the arguments of ROS."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from foreign_bags import images, mcap
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from dgss_core.images.frames import FIRST_STAMP_NS
from dgss_ros.client.session import wait_until
from dgss_ros.replay.bag_play import UNKNOWN_PERIOD_S, BagPlayer

pytestmark = pytest.mark.ros
PLAY = [sys.executable, '-m', 'dgss_core', 'bag', 'play']
STEP_NS, DAY_NS = 50_000_000, 86_400 * 10**9
SOON_S = 60.0


def clock_of(ros: Node, bag: Path, *, at_once: bool = False) -> list[int]:
    """The times on /clock while the bag is played once, in nanoseconds after the first stamp."""
    heard: list[Clock] = []
    ros.create_subscription(Clock, '/clock', heard.append, 1000)
    player = BagPlayer(
        ros, bag, clock=True, as_fast_as_acknowledged=at_once, report=lambda _: None
    )
    assert wait_until(lambda: player.tell_start() or bool(heard), SOON_S)
    time.sleep(0.2)
    heard.clear()
    last = [*player.play()][-1].message.stamp_ns
    wait_until(lambda: heard and nanoseconds(heard[-1]) == last, SOON_S)
    return [nanoseconds(message) - FIRST_STAMP_NS for message in heard]


def nanoseconds(message: Clock) -> int:
    return message.clock.sec * 10**9 + message.clock.nanosec


@pytest.mark.parametrize('at_once', [False, True])
def test_messages_out_of_their_order_do_not_turn_the_clock_back(
    ros: Node, tmp_path: Path, at_once: bool
) -> None:
    order = (0, 2, 1, 4, 3, 5)
    sent = [(FIRST_STAMP_NS + i * STEP_NS, images()[i][1]) for i in order]
    told = clock_of(ros, mcap(tmp_path / 'a.mcap', sent, use_chunking=False), at_once=at_once)
    assert told == sorted(told)
    assert told[-1] == 5 * STEP_NS
    assert {0, 2 * STEP_NS, 4 * STEP_NS} <= {*told}


@pytest.mark.parametrize('at_once', [False, True])
def test_a_clock_that_was_set_back_is_followed(ros: Node, tmp_path: Path, at_once: bool) -> None:
    times = (DAY_NS, DAY_NS + STEP_NS, 0, STEP_NS)
    sent = [(FIRST_STAMP_NS + ns, images()[i][1]) for i, ns in enumerate(times)]
    told = clock_of(ros, mcap(tmp_path / 'a.mcap', sent, use_chunking=False), at_once=at_once)
    assert told[-1] == STEP_NS
    assert sum(later < now for now, later in pairwise(told)) == 1


def test_an_endless_play_of_one_message_pauses(ros: Node, tmp_path: Path) -> None:
    received: list[bytes] = []
    ros.create_subscription(Image, '/camera/image_raw', received.append, 1000, raw=True)
    bag = mcap(tmp_path / 'a.mcap', images(1))
    process = subprocess.Popen([*PLAY, str(bag), '--loop'], stdout=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: bool(received), SOON_S)
        begun_s, count = time.monotonic(), len(received)
        time.sleep(1.0)
        passes = (time.monotonic() - begun_s) / UNKNOWN_PERIOD_S
        assert 0 < len(received) - count <= passes + 2
        process.send_signal(signal.SIGINT)
        process.wait(SOON_S)
    finally:
        process.kill()


def test_the_period_between_passes_is_that_of_the_messages(ros: Node, tmp_path: Path) -> None:
    player = BagPlayer(ros, mcap(tmp_path / 'a.mcap', images(6)))
    assert player.period_s == UNKNOWN_PERIOD_S
    assert len([*player.play(rate=2.0)]) == 6
    assert player.period_s == pytest.approx(0.05, abs=0.02)


def test_the_options_of_a_command_are_not_those_of_ros(tmp_path: Path) -> None:
    bag = mcap(tmp_path / 'a.mcap', images(1))
    done = subprocess.run(
        [*PLAY, str(bag), '--remap', '/camera/image_raw:=/x/y'],
        capture_output=True,
        text=True,
        timeout=SOON_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
