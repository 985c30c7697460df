"""Processes to compare the node with: the bare model and bare rclpy nodes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.segmenter import Segmenter
from dgss_ros.bench.streams import paced
from dgss_ros.client.session import ros_session
from dgss_ros.node.messages import to_image


class Peer(NamedTuple):
    """A running process and the connection to it."""

    pid: int
    connection: Connection


@contextmanager
def peer(target: Callable[..., None], *arguments: Any) -> Iterator[Peer]:
    """Run `target(connection, *arguments)` in a process until the block ends.

    The target sends a first message when it is ready, and ends when the connection is closed.
    """
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(target, theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        try:
            ours.recv()
        except EOFError as error:
            raise DgssError(
                'A process that is measured ended at its start; see what it said, and repeat.'
            ) from error
        assert process.pid is not None, 'it has started'
        yield Peer(process.pid, ours)
    finally:
        ours.close()
        process.join()


def bare_model(connection: Connection, bundle: Path | None, images: list[np.ndarray]) -> None:
    """Run only the segmenter: receive (count, rate), send the seconds of each call."""
    pictures = cycle(images)
    segmenter = Segmenter(open_bundle(bundle))
    segmenter(next(pictures))
    connection.send('ready')
    while True:
        count, rate = connection.recv()
        segmenter(next(pictures))
        times = []
        for _ in paced(count, rate):
            image = next(pictures)
            start = time.perf_counter()
            segmenter(image)
            times.append(time.perf_counter() - start)
        connection.send(times)


def bare_echo(connection: Connection, topic: str) -> None:
    """Run only rclpy: send each image of `topic` back on `topic`/back."""
    _answer(connection, topic, {f'{topic}/back': lambda image: image})


def bare_planes(connection: Connection, topic: str, width: int, height: int) -> None:
    """Run only rclpy: answer each image of `topic` with prepared planes of its size, on
    `topic`/mask and `topic`/confidence."""

    def send(plane: Image, image: Image) -> Image:
        plane.header = image.header
        return plane

    planes = [to_image(Header(), np.zeros((height, width), np.uint8), 'mono8') for _ in range(2)]
    names = (f'{topic}/mask', f'{topic}/confidence')
    _answer(connection, topic, {n: partial(send, p) for n, p in zip(names, planes, strict=True)})


def _answer(
    connection: Connection, topic: str, answers: dict[str, Callable[[Image], Image]]
) -> None:
    with ros_session('bench_peer') as ros:
        publishers = [
            (ros.create_publisher(Image, name, QoSProfile(depth=1)), make)
            for name, make in answers.items()
        ]

        def answer(image: Image) -> None:
            for publisher, make in publishers:
                publisher.publish(make(image))

        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        ros.create_subscription(Image, topic, answer, qos)
        connection.send('ready')
        connection.recv()


def _serve(target: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    with suppress(EOFError, OSError, KeyboardInterrupt):
        target(connection, *arguments)
