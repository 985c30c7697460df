"""`dgss bench node`: what the way through ROS costs on top of the bare model call."""

from __future__ import annotations

import json
import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dgss_core.bundle import open_bundle
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError
from dgss_core.segmenter import Segmenter
from dgss_core.synthetic import CONDITIONS, StreetDrive
from dgss_ros.domain import use_private_domain
from dgss_ros.messages import stamp_ns, to_image
from dgss_ros.process import active_node
from dgss_ros.session import wait_until

IMAGE_TOPIC = '/bench/image'
TURNS = 10
"""Node and bare model take turns, so that what else the machine does hits both alike."""
TARGET_RATIO = 1.5
LOST_S = 2.0
MATCH_S = 20.0


def node(
    *,
    size: str = '640x360',
    frames: int = 200,
    rate: float = 0.0,
    bundle: Path | None = None,
    output: Path | None = None,
) -> None:
    """Measure the round trip through the node and the bare model call, in turns.

    The round trip is from the publication of a frame in this process to the arrival of its mask,
    with the node in another process; the bare call runs in a third, while the node is inactive.

    Args:
        size: of the frames, WIDTHxHEIGHT
        frames: to measure of each
        rate: frames per second; 0 publishes the next frame when the mask is back
        bundle: bundle to run, the embedded one when left out
        output: JSON file for the figures
    """
    width, height = _parse_size(size)
    if frames < TURNS or rate < 0:
        raise DgssError(f'Give at least {TURNS} frames and a rate of 0 or more.')
    opened = open_bundle(bundle)
    use_private_domain()
    images = [StreetDrive(0, c, width, height).frame(0).image for c in CONDITIONS]
    trips: list[float] = []
    calls: list[float] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        active_node(bundle, Path(scratch) / 'node.log', IMAGE_TOPIC) as live,
        bare_model(bundle, images) as bare,
    ):
        camera = _Camera(live.ros, images)
        camera.connect()
        for _ in with_progress(range(TURNS), 'Measuring in turns', TURNS):
            trips += camera.round_trips(frames // TURNS, rate)
            live.lifecycle.deactivate()
            bare.send((frames // TURNS, rate))
            calls += bare.recv()
            live.lifecycle.activate()
            camera.connect()
    report = _report(opened.identity, size, rate, trips, calls)
    if output is not None:
        output.write_text(json.dumps(report, indent=2) + '\n')
    _print(report)


class _Camera:
    """Publishes frames to the node and waits for their masks."""

    def __init__(self, ros: Node, images: list[np.ndarray]) -> None:
        self._publisher = ros.create_publisher(Image, IMAGE_TOPIC, QoSProfile(depth=1))
        ros.create_subscription(Image, '/dgss/mask', self._take, QoSProfile(depth=5))
        bgr = (np.ascontiguousarray(image[..., ::-1]) for image in images)
        self._messages = cycle([to_image(Header(frame_id='bench'), i, 'bgr8') for i in bgr])
        self._count = 0
        self._arrived: dict[int, float] = {}
        self._news = threading.Event()

    def connect(self) -> None:
        """Wait until the node answers; it learns of its subscriber after its own subscription."""
        found = wait_until(lambda: self._publisher.get_subscription_count() > 0, MATCH_S)
        if not found or all(np.isnan(self._trip()) for _ in range(10)):
            raise DgssError('The node does not answer; try dgss demo, which keeps its log.')

    def round_trips(self, count: int, rate: float) -> list[float]:
        """Seconds from publication to mask, nan where a frame was dropped or lost."""
        if not rate:
            return [self._trip() for _ in range(count)]
        sent = {}
        for _ in paced(count, rate):
            stamp, time_s = self._publish()
            sent[stamp] = time_s
        last = max(sent)
        wait_until(lambda: last in self._arrived, LOST_S)
        return [self._arrived.get(stamp, np.nan) - start for stamp, start in sent.items()]

    def _trip(self) -> float:
        stamp, start = self._publish()
        end = start + LOST_S
        while stamp not in self._arrived:
            if not self._news.wait(max(0.0, end - time.perf_counter())):
                return float('nan')
            self._news.clear()
        return self._arrived[stamp] - start

    def _publish(self) -> tuple[int, float]:
        message = next(self._messages)
        self._count += 1
        message.header.stamp = Time(sec=self._count, nanosec=0)
        start = time.perf_counter()
        self._publisher.publish(message)
        return stamp_ns(message.header), start

    def _take(self, message: Image) -> None:
        self._arrived[stamp_ns(message.header)] = time.perf_counter()
        self._news.set()


@contextmanager
def bare_model(bundle: Path | None, images: list[np.ndarray]) -> Iterator[Connection]:
    """A process with nothing but the segmenter: send (count, rate), receive the seconds each."""
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    process = context.Process(target=_call_bare_model, args=(theirs, bundle, images), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield ours
    finally:
        ours.close()
        process.join()


def _call_bare_model(connection: Connection, bundle: Path | None, images: list) -> None:
    pictures = cycle(images)
    try:
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
    except (EOFError, KeyboardInterrupt):
        pass


def paced(count: int, rate: float) -> Iterator[int]:
    """Count at `rate` per second, or without a pause for 0."""
    start = time.perf_counter()
    for index in range(count):
        if rate:
            time.sleep(max(0.0, start + index / rate - time.perf_counter()))
        yield index


def _parse_size(size: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r'([0-9]+)x([0-9]+)', size)):
        raise DgssError(f'{size!r} is not a size; write it as WIDTHxHEIGHT, like 640x360.')
    return int(match[1]), int(match[2])


def _report(
    bundle: str, size: str, rate: float, trips: list[float], calls: list[float]
) -> dict[str, object]:
    answered = [trip for trip in trips if not np.isnan(trip)]
    if not answered:
        raise DgssError('No frame came back; try dgss demo, which keeps the log of the node.')
    return {
        'bundle': bundle,
        'size': size,
        'rate_hz': rate,
        'frames': len(trips),
        'lost': len(trips) - len(answered),
        'round_trip_ms': _percentiles(answered),
        'bare_model_ms': _percentiles(calls),
        'ratio': float(np.median(answered) / np.median(calls)),
        'target_ratio': TARGET_RATIO,
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    values = np.percentile(seconds, (50, 95, 99)) * 1e3
    return dict(zip(('p50', 'p95', 'p99'), map(float, values), strict=True))


def _print(report: dict) -> None:
    load = (
        f'{report["rate_hz"]:g} Hz'
        if report['rate_hz']
        else 'the next frame as soon as a mask is back'
    )
    table = Table()
    table.add_column(f'{report["bundle"]}, {report["size"]}')
    for name in ('p50', 'p95', 'p99'):
        table.add_column(f'{name} ms', justify='right')
    for title, key in (
        ('round trip through the node', 'round_trip_ms'),
        ('bare model call', 'bare_model_ms'),
    ):
        table.add_row(title, *(f'{value:.1f}' for value in report[key].values()))
    console = Console()
    console.print(f'Load: {load}.')
    console.print(table)
    console.print(
        f'ratio {report["ratio"]:.2f} of medians (target: at most {report["target_ratio"]}); '
        f'{report["frames"]} frames, {report["lost"]} without a mask'
    )
