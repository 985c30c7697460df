"""`dgss bag replay`: plays a bag through a live node; records its masks and their latencies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rclpy.node import Node
from rich.console import Console

from dgss_core.bags import Bag, BagMessage, BagRecorder, image_topic
from dgss_core.bags.bag import opened
from dgss_core.bags.stored import HEADED, raw_stamp_ns
from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import say, with_progress
from dgss_core.errors import one_line, plural
from dgss_core.evaluation.live import DIAGNOSTICS
from dgss_ros.client.session import checked, ros_session, wait_until
from dgss_ros.node import naming
from dgss_ros.node.naming import CameraTopics
from dgss_ros.replay.answers import Answers, labels_topic
from dgss_ros.replay.bag_play import BagPlayer, Published, check_rate
from dgss_ros.replay.meeting import (
    check_coverage,
    note_coverage,
    wait_for_answers,
    warn_of_others,
)
from dgss_ros.replay.peers import others
from dgss_ros.replay.stamps import Stamps
from dgss_ros.replay.times import CameraTimes, Replay

NODE = '/dgss'
MASK_TOPIC = f'{NODE}/mask'
LAST_ANSWER_S = 3.0


def replay(
    bag: Path,
    *,
    output: Path,
    rate: float = 1.0,
    image: str | None = None,
    cameras: str = '',
    node: str = NODE,
    wait: float = 60.0,
    clock: bool = False,
    overwrite: bool = False,
    lossless: bool = False,
    loops: int = 1,
) -> int:
    """Play a bag to a running node, and record its masks and confidences with their stamps.

    A node takes the newest image whenever it is free; a busy one leaves frames without a mask.
    Ctrl-C keeps what has been recorded, as does the exit code 2 when a node ends, hangs or is no
    longer active. An image without a stamp is sent with the time of its recording, and one with
    the stamp of another a nanosecond later, so that masks are told apart.

    Args:
        bag: bag folder, or an .mcap or .db3 file
        output: bag folder to write
        rate: speed; 2 is twice as fast as recorded
        image: topic of the images in the bag, {camera} for the names of several cameras; by
            default the image topic of the bag
        cameras: names of the cameras of the node, separated by commas; a colon separates several
            nodes, as in segment.launch.py
        node: full name of the node; several nodes are named NODE_CAMERAS
        wait: seconds to wait until the node answers
        clock: publish the time of the bag on /clock, for a node with use_sim_time
        overwrite: replace an existing bag
        lossless: wait for the mask of each frame before the next one, whatever the rate
        loops: how often to play the bag; the masks of the first time are recorded, and the times
            of all

    Returns:
        0, or 1 if frames got no mask, or the bag holds less than it promises.
    """
    at_least(1, loops=loops)
    check_rate(rate)
    drive_bag = Bag(bag)
    with ros_session('dgss_bag_replay') as ros:
        played = by_topic(drive_bag, image, cameras, node)
        drive = Drive(drive_bag, played, rate, lossless, clock, loops)
        times = play_through_node(ros, drive, output, wait_s=wait, overwrite=overwrite)
    console = Console(markup=False)
    if times.restamped:
        console.print(
            f'{plural(times.restamped, "image")} had no stamp, or that of an image before them; '
            'they and their masks have the time of their recording, or the next nanosecond.'
        )
    for camera in times.cameras:
        of = f' of {camera.topic}' if len(times.cameras) > 1 else ''
        _tell(console, camera, of, output, drive)
    return 1 if any(c.missing for c in times.cameras) or times.is_short else 0


def _tell(console: Console, camera: CameraTimes, of: str, output: Path, drive: Drive) -> None:
    where = f' in {output}' if drive.loops == 1 else f'; those of the first time are in {output}'
    slower = 'a faster machine' if drive.lossless else 'a lower --rate, or --lossless'
    for sentence in camera.told(of, where, slower):
        console.print(sentence)


def by_topic(
    bag: str | Path | Bag, image: str | None = None, cameras: str = '', node: str = NODE
) -> dict[str, CameraTopics]:
    """The cameras of nodes by their image topics in a bag, compressed where there is no other.

    Raises DgssError where the bag has no such topic.
    """
    bag = opened(bag)
    namespace, _, name = node.rpartition('/')
    if image is None and not cameras:
        image = image_topic(bag).name
    base = (image or naming.IMAGE).removesuffix(naming.COMPRESSED)
    known = {topic.name for topic in bag.topics}
    found = {}
    for camera in naming.topics(cameras, base, namespace, name):
        topic = camera.image
        if topic not in known or (image or '').endswith(naming.COMPRESSED):
            compressed = topic + naming.COMPRESSED
            topic = compressed if compressed in known else topic
        found[image_topic(bag, topic).name] = camera
    return found


@dataclass(frozen=True)
class Drive:
    """A bag to play at `rate` times its speed, and the cameras by the topics of its images.

    `lossless`: each frame waits for the answers to the one before. `clock`: publish the time of
    the bag on /clock. `loops`: how often it is played; only the first answers are recorded.
    """

    bag: str | Path | Bag
    cameras: Mapping[str, CameraTopics]
    rate: float = 1.0
    lossless: bool = False
    clock: bool = False
    loops: int = 1


def play_through_node(
    ros: Node,
    drive: Drive,
    masks: Path,
    *,
    wait_s: float = 30.0,
    check: Callable[[], None] = lambda: None,
    overwrite: bool = True,
) -> Replay:
    """Play `drive` to active nodes and record their answers in the bag `masks`.

    `check` raises when the process of the node, if it is a child, has ended. What was recorded
    before an error or Ctrl-C is kept. Raises DgssError when there is no answer within `wait_s`
    seconds, and when a node ends, hangs or is no longer active.
    """
    played = opened(drive.bag)
    sent: dict[str, dict[int, float]] = {topic: {} for topic in drive.cameras}
    stamps = {topic: Stamps() for topic in drive.cameras}

    with BagRecorder(
        masks,
        latched=[labels_topic(camera) for camera in drive.cameras.values()],
        overwrite=overwrite,
        keep_partial=True,
        inputs=[played.path],
    ) as bag:
        answers = Answers(ros, bag, drive.cameras, check)
        player = BagPlayer(
            ros, played, clock=drive.clock, without=dict(_of_nodes(played, drive)), report=say
        )
        wait_for_answers(ros, player, played, answers, wait_s, check)
        try:
            answers.begin()
            note_coverage(ros, answers)
            other = warn_of_others(ros, answers)
            count = drive.loops * player.count
            playing = _play(player, drive, stamps, answers)
            with closing(with_progress(playing, 'Driving', count)) as shown:
                for message, time_s in shown:
                    topic = message.topic
                    if topic in sent and len(message.data) >= HEADED:
                        stamp_ns = raw_stamp_ns(message.data)
                        sent[topic][stamp_ns] = time_s
                        answers.played_ns = stamp_ns
                        answers.check()
                        if drive.lossless:
                            again = partial(player.publish, topic, message.data)
                            answers.of[topic].wait_for(stamp_ns, again, answers.check)
                    answers.record()
            whole = checked(lambda: answers.complete(sent), answers.check)
            if not wait_until(whole, LAST_ANSWER_S):
                answers.confirm()
            check_coverage(ros, answers)
            answers.record_times(sent)
        except BaseException:
            keep_rest(answers, sent, masks)
            raise
    times = [
        CameraTimes(
            topic,
            sent[topic],
            of.received,
            of.fault,
            of.resent,
            of.foreign,
            other[topic] | {*others(ros, topic)},
        )
        for topic, of in answers.of.items()
    ]
    restamped = sum(given.changed for given in stamps.values())
    return Replay(tuple(times), restamped, player.is_short)


def keep_rest(answers: Answers, sent: Mapping[str, Mapping[int, float]], masks: Path) -> None:
    """Write what is left after an error, which stays the one that is raised."""
    try:
        kept = answers.record_times(sent)
    except Exception as error:
        print(f'The last masks are not kept: {one_line(str(error))}', file=sys.stderr)
    else:
        print(f'{kept} masks are kept in {masks}.', file=sys.stderr)


def _play(
    player: BagPlayer, drive: Drive, stamps: Mapping[str, Stamps], answers: Answers
) -> Iterator[Published]:
    """Play the bag as often as asked for, each image with a stamp of its own."""

    def prepare(again: int, message: BagMessage) -> BagMessage:
        topic = message.topic
        if topic not in stamps:
            return message
        message = stamps[topic].unique(message, again)
        if len(message.data) >= HEADED:
            stamp_ns = raw_stamp_ns(message.data)
            answers.of[topic].note_sent(stamp_ns)
            if again:
                answers.of[topic].only_timed.add(stamp_ns)
        return message

    for again in range(drive.loops):
        yield from player.play(drive.rate, partial(prepare, again), answers.check)


def _of_nodes(bag: Bag, drive: Drive) -> Iterator[tuple[str, str]]:
    """The topics that the nodes publish now, recorded in a vehicle by the side of its images."""
    below = tuple(f'{camera.node}/' for camera in drive.cameras.values())
    for topic in bag.topics:
        name = topic.name
        if name == DIAGNOSTICS or (name.startswith(below) and name not in drive.cameras):
            yield name, 'the node publishes it'
