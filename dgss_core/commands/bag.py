"""`dgss bag write` and `dgss bag info`: rosbag2 recordings of drives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dgss_core.bags import BagInfo, bag_info, span, write_bag
from dgss_core.bags.stored import CDR
from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import say, with_progress
from dgss_core.commands.tables import print_table
from dgss_core.errors import DgssError, plain
from dgss_core.images.frames import FIRST_STAMP_NS, FPS, Frame
from dgss_core.inputs import read_frames
from dgss_core.synthetic import CONDITIONS, StreetDrive

SYNTHETIC = 'synthetic'
FRAMES_PER_CONDITION = 50
MOST_GAPS = 20
"""Gaps of a bag that are printed."""


def write(
    source: str,
    *,
    output: Path,
    storage: str = 'mcap',
    compressed: bool = False,
    topic: str | None = None,
    labels: Path | None = None,
    fps: float | None = None,
    frames: int | None = None,
    conditions: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Write images, a video or the synthetic street drive as a rosbag2 recording.

    The bag has the topics /camera/image_raw, /camera/camera_info, /camera/labels if there are
    labels, and /camera/condition if conditions are known. Frames that cannot be read are left out
    and listed at the end.

    Args:
        source: image folder, video or bag, or the word synthetic
        output: bag folder to write
        storage: mcap or sqlite3
        compressed: write JPEG to /camera/image_raw/compressed
        topic: image topic, if the source is a bag that has several
        labels: folder of PNGs of ids with the stems of the images
        fps: frames per second (default: 10; of a video its own time stamps)
        frames: synthetic: frames per condition (default: 50); others: maximum number of frames
        conditions: synthetic: separated by commas (default: all); others: that of all frames
        seed: seed of the synthetic street
        overwrite: replace an existing bag

    Returns:
        0, or 1 if frames are left out or the source holds less than it promised.
    """
    failed: list[tuple[str, DgssError]] = []
    at_least(1, frames=frames)
    named = _conditions(conditions)
    inputs = [] if source == SYNTHETIC else [Path(source)]
    if source == SYNTHETIC:
        if labels is not None:
            raise DgssError('The synthetic drive brings its own labels; leave --labels out.')
        if topic is not None:
            raise DgssError('The synthetic drive has one camera; leave --topic out.')
        count = frames or FRAMES_PER_CONDITION
        drive = synthetic_frames(named or CONDITIONS, count, FPS if fps is None else fps, seed)
        total: int | None = count * len(named or CONDITIONS)
    else:
        if seed:
            raise DgssError('--seed is for the synthetic drive; leave it out.')
        found = read_frames(
            source, topic, labels=labels, fps=fps, on_error=lambda *failure: failed.append(failure)
        )
        if found.note:
            say(found.note)
        drive = _in_condition(islice(found, frames), named)
        total = min(filter(None, (found.length, frames)), default=None)
    try:
        with closing(with_progress(drive, 'Writing', total)) as shown:
            written = write_bag(
                output,
                shown,
                storage=storage,
                compressed=compressed,
                overwrite=overwrite,
                inputs=[*inputs, labels] if labels else inputs,
            )
    finally:
        for name, reason in failed:
            print(f'{name}: {reason}', file=sys.stderr)
    _print(written)
    return 1 if failed else 0


def info(bag: Path) -> int:
    """Print the storage, size, duration and topics of a bag, and what is wrong with it.

    Args:
        bag: bag folder, or an .mcap or .db3 file

    Returns:
        0, or 1 if the bag is not whole, as far as that can be told without reading it.
    """
    found = bag_info(bag)
    _print(found)
    for fault in found.faults:
        # A fault names its file, which may be the one that was given.
        named = fault.startswith((str(bag), plain(bag.name)))
        say(f'{fault}.' if named else f'{bag}: {fault}.')
    for note in found.notes:
        say(note)
    return 1 if found.faults else 0


def synthetic_frames(
    conditions: tuple[str, ...], frames: int, fps: float, seed: int
) -> Iterator[Frame]:
    """One drive along one street, `frames` frames in each of `conditions` in turn."""
    if not fps > 0:
        raise DgssError(f'fps is {fps}; give frames per second above zero.')
    for leg, condition in enumerate(conditions):
        drive = StreetDrive(seed=seed, condition=condition, fps=fps)
        for index in range(leg * frames, (leg + 1) * frames):
            seen = drive.frame(index)
            yield Frame(
                name=f'{index:06d}',
                image=seen.image,
                stamp_ns=FIRST_STAMP_NS + round(index * 1e9 / fps),
                labels=seen.labels,
                condition=condition,
            )


def _conditions(listed: str | None) -> tuple[str, ...]:
    named = tuple(listed.split(',')) if listed else ()
    unknown = [name for name in named if name not in CONDITIONS]
    if unknown:
        raise DgssError(f'Unknown condition {unknown[0]!r}; choose of {", ".join(CONDITIONS)}.')
    return named


def _in_condition(frames: Iterator[Frame], conditions: tuple[str, ...]) -> Iterator[Frame]:
    if not conditions:
        return frames
    if len(conditions) > 1:
        raise DgssError('All frames of a source have one condition; name a single one.')
    return (replace(frame, condition=conditions[0]) for frame in frames)


def _print(bag: BagInfo) -> None:
    megabytes = bag.size / 1e6
    title = f'{bag.path}   {bag.storage}, {megabytes:.1f} MB, {bag.duration_ns / 1e9:.1f} s'
    table = Table(title=title)
    table.add_column('topic', no_wrap=True)
    table.add_column('type', no_wrap=True)
    table.add_column('count', justify='right', no_wrap=True)
    table.add_column('Hz', justify='right', no_wrap=True)
    for topic in bag.topics:
        rate = 'latched' if topic.latched else f'{topic.rate:.1f}'
        kind = plain(topic.msgtype)
        if topic.encoding != CDR:
            kind += f' ({plain(topic.encoding)})'
        count = str(topic.count)
        if topic.stored < topic.count:
            count = f'{topic.stored} of {topic.count}'
        table.add_row(plain(topic.name), kind, count, rate)
    print_table(table)
    console = Console(markup=False, highlight=False)
    for after_ns, length_ns in bag.gaps[:MOST_GAPS]:
        gap = f'{span(length_ns)} without a message after {after_ns / 1e9:.1f} s; a clock jumped'
        console.print(gap, soft_wrap=True)
    if bag.pause:
        after_ns, length_ns = bag.pause
        pause = (
            f'The longest pause is {span(length_ns)} without a message, '
            f'{span(after_ns - bag.start_ns)} after the start.'
        )
        console.print(pause, soft_wrap=True)
