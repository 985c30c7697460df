"""The images of a bag as frames to evaluate, with labels from a topic or a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from dgss_core.bags import Bag, BagMessage, image_topic
from dgss_core.bags.interfaces import IMAGE, sibling
from dgss_core.bags.reader import condition_changes, decode_labels, decode_message
from dgss_core.bags.stored import HEADED, raw_stamp_ns
from dgss_core.errors import DgssError, IncompleteError, missing_error
from dgss_core.evaluation.conditions import IGNORE, OUTSIDE, RESERVED, Changes, TimeRanges
from dgss_core.evaluation.frames import (
    ALONE,
    UNKNOWN,
    UNUSED,
    FrameKey,
    Problems,
    files_hash,
)
from dgss_core.evaluation.pairing import Pairing, pair
from dgss_core.images.frames import read_labels
from dgss_core.labels import LabelSet

NS = 10**9
STAMP = re.compile(r'(\d{9,})[._](\d{1,9})|(\d{16,})')
"""The name of a label file by its stamp: SECONDS_NANOSECONDS, SECONDS.FRACTION or NANOSECONDS."""


@dataclass(frozen=True)
class BagOptions:
    """How a bag is read.

    `topic`: of the images, if there are several. `labels`: a topic of id images, a folder of PNGs
    of ids, or None for the topic `labels` beside the images, where there is one. `tolerance_ns`:
    largest difference of the stamps of an image and its labels. `conditions`: by time; None for
    the topic `condition` beside the images.
    """

    topic: str | None = None
    labels: str | None = None
    tolerance_ns: int = 0
    conditions: TimeRanges | None = None


@dataclass(frozen=True)
class Times:
    """Of a message, in nanoseconds: the stamp of its header, 0 for none, and its recording.

    `number`: its place among all that were recorded, also those before it that are lost.
    """

    stamp: int
    recorded: int
    number: int

    @property
    def best(self) -> int:
        return self.stamp or self.recorded


class BagFrames:
    """The images of one topic of a bag; its labels have the classes of `label_set`.

    Raises DgssError if the bag, its images or the named labels cannot be found.
    """

    is_film = True

    def __init__(self, path: Path, label_set: LabelSet, options: BagOptions | None = None) -> None:
        options = options or BagOptions()
        self.path, self.label_set = path, label_set
        self.problems = Problems()
        self._bag = Bag(path)
        for note in self._bag.notes:
            self.problems.add(note, is_note=True)
        self._topic = image_topic(self._bag, options.topic).name
        self.title = f'{path.resolve().name} {self._topic}'
        self._times = message_times(self._bag, self._topic, self.problems)
        self.keys = self._keys(options)
        self._labels_topic = self._find_labels_topic(options.labels)
        self._files: list[Path] = []
        self.unused: frozenset[str] | None = None
        if self._labels_topic is not None:
            times = message_times(self._bag, self._labels_topic, self.problems)
            self._pairs = self._paired([t.best for t in times], options.tolerance_ns)
        elif options.labels is not None:
            self._pairs = self._pair_files(Path(options.labels), options.tolerance_ns)
        else:
            self._pairs = {}

    @property
    def has_labels(self) -> bool:
        return bool(self._pairs)

    @property
    def fingerprint(self) -> str:
        return f'{self._topic} {files_hash(self.path, self.path.glob("*"))}'

    @property
    def labels_fingerprint(self) -> str:
        where, found = self._labels_topic or '', ''
        if self._files:
            where = str(self._files[0].parent)
            found = files_hash(self._files[0].parent, self._files)
        return f'{where} {found} {self._pairs} {self.label_set.to_dict()} {self.keys}'

    def images(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        places = set(wanted)
        for index, message in enumerate(self._bag.messages({self._topic}, told)):
            if index in places:
                try:
                    yield index, decode_message(message)[1]
                except DgssError as error:
                    self.problems.add(str(error), self.keys[index].name)

    def labels(self, wanted: Sequence[int]) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
        if self._labels_topic is None:
            for index in wanted:
                if index in self._pairs:
                    file = self._files[self._pairs[index]]
                    yield index, partial(self._checked, partial(read_labels, file))
            return
        image_of = {self._pairs[index]: index for index in wanted if index in self._pairs}
        in_order = iter(sorted(image_of.values()))
        due = next(in_order, None)
        # Labels may be recorded in another order than their images.
        early: dict[int, Callable[[], np.ndarray]] = {}
        for number, message in enumerate(self._bag.messages({self._labels_topic}, told)):
            if number in image_of:
                early[image_of[number]] = partial(self._checked, partial(_ids, message))
            while due is not None and due in early:
                yield due, early.pop(due)
                due = next(in_order, None)
        yield from sorted(early.items(), key=itemgetter(0))

    def _checked(self, read: Callable[[], np.ndarray]) -> np.ndarray:
        labels = read()
        self.label_set.check_ids(labels, 'The labels')
        return labels

    def _keys(self, options: BagOptions) -> list[FrameKey]:
        keys = [
            FrameKey(f'{times.number:06d}', str(self.path), condition, times.best)
            for times, condition in zip(
                self._times, self._conditions(options.conditions), strict=True
            )
        ]
        if unstamped := [k.name for k, t in zip(keys, self._times, strict=True) if not t.stamp]:
            self.problems.add(
                'An image has no stamp, and the time of its recording is used; let the driver '
                'stamp its images.',
                *unstamped,
            )
        return keys

    def _conditions(self, ranges: TimeRanges | None) -> list[str]:
        if ranges:
            found = ranges.of([times.best for times in self._times])
            if {*found} == {UNKNOWN}:
                self.problems.add(OUTSIDE)
            return found
        topic = sibling(self._topic, 'condition')
        changes = Changes(*condition_changes(self._bag, topic))
        told = [changes.at(times.recorded) for times in self._times]
        for name in RESERVED:
            of_it = (t.number for t, found in zip(self._times, told, strict=True) if found == name)
            if frames := [f'{number:06d}' for number in of_it]:
                self.problems.add(
                    f'{topic} calls the condition {name!r}, which means something else here, so '
                    'that it counts as unknown; give the conditions in a file, with --conditions.',
                    *frames,
                )
        return [UNKNOWN if name in RESERVED else name for name in told]

    def _find_labels_topic(self, labels: str | None) -> str | None:
        topics = {topic.name: topic.msgtype for topic in self._bag.topics}
        if labels is None:
            beside = sibling(self._topic, 'labels')
            return beside if topics.get(beside) == IMAGE and beside != self._topic else None
        if labels in topics:
            return labels
        if not Path(labels).is_dir():
            raise missing_error(
                Path(labels),
                f'{self.path} has no topic {labels}, and there is no folder of that name; '
                f'its topics are {", ".join(topics)}.',
            )
        return None

    def _pair_files(self, folder: Path, tolerance_ns: int) -> dict[int, int]:
        """Pair the files of a folder by the stamps in their names, or by the numbers of frames."""
        self._files = _label_files(folder)
        if not self._files:
            raise DgssError(f'{folder} holds no PNGs; name the folder that holds the labels.')
        stamps = [_stamp_ns(path.stem) for path in self._files]
        if None not in stamps:
            return self._paired([stamp for stamp in stamps if stamp is not None], tolerance_ns)
        by_name = {path.stem: place for place, path in enumerate(self._files)}
        pairs = {
            index: by_name.pop(key.name)
            for index, key in enumerate(self.keys)
            if key.name in by_name
        }
        self._tell_alone([i for i in range(len(self.keys)) if i not in pairs])
        if by_name:
            self.problems.add(
                f'A file of {folder} is the label of no image; name it by the stamp of its image '
                'in nanoseconds, or by the number of the frame, as in 000012.png.',
                *by_name,
            )
        return pairs

    def _paired(self, labels: Sequence[int], tolerance_ns: int) -> dict[int, int]:
        pairing = pair([times.best for times in self._times], labels, tolerance_ns)
        self._tell(pairing, labels, tolerance_ns)
        return pairing.partner

    def _tell(self, pairing: Pairing, labels: Sequence[int], tolerance_ns: int) -> None:
        names = [key.name for key in self.keys]
        self._tell_alone(pairing.alone)
        unused = [str(labels[place]) for place in pairing.unused]
        if self._files:
            self.unused = frozenset(unused)
        elif unused:
            self.problems.add(UNUSED, *unused)
        if pairing.doubled:
            self.problems.add(
                'An image has the stamp of an image before it; the two cannot be told apart by '
                'their stamps.',
                *(names[place] for place in pairing.doubled),
            )
        if pairing.near:
            self.problems.add(
                'An image has no labels of its own stamp; the nearest within '
                f'{tolerance_ns / 1e6:g} ms are used.',
                *(names[place] for place in pairing.near),
                is_note=True,
            )

    def _tell_alone(self, places: Sequence[int]) -> None:
        keys = (self.keys[place] for place in places)
        if alone := [key.name for key in keys if key.condition != IGNORE]:
            self.problems.add(ALONE, *alone)


def message_times(bag: Bag, topic: str, problems: Problems) -> list[Times]:
    """The times of the messages of a topic whose type begins with a header, in order.

    What the bag promised and does not hold becomes a problem.
    """
    found: list[Times] = []
    lost = 0

    def lose(topic: str, count: int) -> None:
        nonlocal lost
        lost += count

    for m in bag.messages({topic}, lambda error: problems.add(str(error)), lose):
        stamp = raw_stamp_ns(m.data) if len(m.data) >= HEADED else 0
        found.append(Times(stamp, m.stamp_ns, len(found) + lost))
    return found


def told(error: IncompleteError) -> None:
    """Passes over what `message_times` made a problem."""


def numbered(folder: Path) -> bool:
    """Whether the PNGs of a folder belong to frames by their numbers, and not by their stamps."""
    return any(_stamp_ns(path.stem) is None for path in _label_files(folder))


def _label_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == '.png')


def _ids(message: BagMessage) -> np.ndarray:
    return decode_labels(message)[1]


def _stamp_ns(stem: str) -> int | None:
    found = STAMP.fullmatch(stem)
    if found is None:
        return None
    seconds, fraction, whole = found.groups()
    if whole:
        return int(whole)
    digits = fraction.ljust(9, '0') if '.' in stem else fraction
    return int(seconds) * NS + int(digits)
