"""The results of the demo: scores per condition, a contact sheet, a report and a table."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image

from dgss_core.bags import read_bag, read_messages
from dgss_core.commands.progress import with_progress
from dgss_core.commands.tables import print_table
from dgss_core.confusion import ConfusionMatrix
from dgss_core.images.frames import Frame
from dgss_core.images.paint import colorize, contact_sheet, overlay
from dgss_core.labels import LabelSet
from dgss_ros.demo.drive import Leg
from dgss_ros.node.messages import stamp_ns, to_mask
from dgss_ros.replay.replay import MASK_TOPIC
from dgss_ros.replay.times import CameraTimes

LABELS = LabelSet.load('cityscapes19')
"""The label set of the labels in the drive bag."""


class Score:
    """The score of one leg of `total` frames, updated frame by frame.

    `picture`: a frame from the middle of the leg, RGB uint8, and its mask and overlay if any.
    """

    def __init__(self, leg: Leg, total: int, labels: LabelSet) -> None:
        self.leg, self.total, self.received = leg, total, 0
        self.picture: tuple[np.ndarray, ...] = ()
        self._sent = 0
        self._labels = labels
        target = LabelSet.load(leg.scored_in)
        self._merge_mask, self._merge_labels = labels.merge_to(target), LABELS.merge_to(target)
        self._matrix = ConfusionMatrix(target)

    def add(self, frame: Frame, mask: np.ndarray | None) -> None:
        self._sent += 1
        if mask is None:
            self.picture = self.picture or (frame.image,)
            return
        self.received += 1
        self._matrix.add(self._merge_mask[mask], self._merge_labels[frame.labels])
        if len(self.picture) < 3 or self._sent <= (self.total + 1) // 2:
            painted = overlay(frame.image, mask, self._labels)
            self.picture = (frame.image, colorize(mask, self._labels), painted)

    @property
    def miou(self) -> float | None:
        """Mean IoU as `dgss evaluate` has it; None without any mask."""
        return self._matrix.miou if self._matrix.counts.any() else None


def score(drive: Path, masks: Path, legs: dict[int, Leg], labels: LabelSet) -> list[Score]:
    """Score the recorded masks, ids of `labels`, against the labels of the drive, per leg."""
    counts = Counter(legs.values())
    scores = {leg: Score(leg, count, labels) for leg, count in counts.items()}
    for frame, mask in with_progress(_pairs(drive, masks), 'Scoring', len(legs)):
        scores[legs[frame.stamp_ns]].add(frame, mask)
    return list(scores.values())


def _pairs(drive: Path, masks: Path) -> Iterator[tuple[Frame, np.ndarray | None]]:
    """Yield every frame of the drive with its mask, None where no mask was recorded."""
    answers = (deserialize_message(m.data, Image) for m in read_messages(masks, {MASK_TOPIC}))
    waiting = next(answers, None)
    for frame in read_bag(drive):
        mask = None
        # Both bags are sorted by stamp.
        if waiting is not None and stamp_ns(waiting.header) == frame.stamp_ns:
            mask, waiting = to_mask(waiting), next(answers, None)
        yield frame, mask


def draw_sheet(scores: list[Score], labels: LabelSet) -> np.ndarray:
    """Draw frame, mask and overlay of each leg; returns RGB uint8 (H, W, 3)."""
    captions = [f'{s.leg.condition}, {s.leg.source}, mIoU {_percent(s.miou)}' for s in scores]
    rows = [score.picture for score in scores]
    return contact_sheet(rows, ('frame', 'mask', 'overlay'), captions, labels)


def make_report(scores: list[Score], times: CameraTimes, bundle: str) -> dict[str, Any]:
    """Return the content of report.json."""
    latencies = times.latencies_ms
    percentiles = np.percentile(latencies, (50, 95, 99)) if latencies.size else [None] * 3
    return {
        'bundle': bundle,
        'frames': {
            'sent': len(times.sent),
            'received': len(times.received),
            'dropped': len(times.sent) - len(times.received),
        },
        'latency_ms': {
            name: None if value is None else round(float(value), 2)
            for name, value in zip(('p50', 'p95', 'p99'), percentiles, strict=True)
        },
        'conditions': [
            {
                'condition': s.leg.condition,
                'source': s.leg.source,
                'label_set': s.leg.scored_in,
                'sent': s.total,
                'received': s.received,
                'miou': s.miou,
            }
            for s in scores
        ],
    }


def print_report(console: Console, report: dict[str, Any], output: Path) -> None:
    table = Table(title=f'{report["bundle"]} through the live node')
    for name in ('condition', 'source', 'classes'):
        table.add_column(name, no_wrap=True)
    for name in ('frames', 'masks', 'mIoU'):
        table.add_column(name, justify='right', no_wrap=True)
    for row in report['conditions']:
        classes = str(len(LabelSet.load(row['label_set'])))
        numbers = (str(row['sent']), str(row['received']), _percent(row['miou']))
        table.add_row(row['condition'], row['source'], classes, *numbers)
    print_table(table)
    frames, latency = report['frames'], report['latency_ms']
    console.print(
        f'frames   sent {frames["sent"]}   received {frames["received"]}   '
        f'dropped {frames["dropped"]}'
    )
    console.print(
        'latency  '
        + '   '.join(f'{name} {_number(value, 1)} ms' for name, value in latency.items())
        + '   (frame published to mask received)',
        soft_wrap=True,
    )
    dgss, python = _command('dgss'), _shown(Path(sys.executable))
    console.print(
        f"""
Sheet     {output}/contact_sheet.png
Bags      {output}/drive (frames and labels), {output}/masks (masks and confidences)

Your own drive (images, a video or a bag):
  {dgss} segment YOUR_DRIVE --output masks
Your own camera, masks on /dgss/mask:
  {python} -m dgss_ros.segment_node --ros-args -p autostart:=true -r '~/image:=/camera/image_raw'
  ros2 launch dgss_ros segment.launch.py image:=/camera/image_raw      (in a ROS 2 workspace)
Your own bag through that node, in a second terminal:
  {dgss} bag play YOUR_BAG --remap /your/image:=/camera/image_raw""",
        highlight=False,
        soft_wrap=True,
    )


def _command(name: str) -> str:
    """Return how to call a command of this environment from the working directory."""
    own = Path(sys.executable).parent / name
    return name if shutil.which(name) == str(own) or not own.exists() else _shown(own)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _percent(value: float | None) -> str:
    return _number(None) if value is None else f'{value:.1%}'


def _number(value: float | None, digits: int = 3) -> str:
    return '-' if value is None else f'{value:.{digits}f}'
