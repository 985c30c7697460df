"""What answers for the frames: a segmenter, or masks that anyone made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from dgss_core.bags import Bag, BagMessage
from dgss_core.bags.bag import opened
from dgss_core.bags.interfaces import IMAGE, sibling
from dgss_core.bags.reader import decode_labels
from dgss_core.errors import DgssError, dead_link, missing_error
from dgss_core.evaluation.bag_frames import message_times, told
from dgss_core.evaluation.frames import FrameKey, FrameSet, files_hash
from dgss_core.evaluation.live import recorded_coverage
from dgss_core.evaluation.pairing import pair
from dgss_core.evaluation.store import Predicted
from dgss_core.images.compressed import decode_pixels
from dgss_core.images.frames import read_labels
from dgss_core.images.view import View
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.runtime.monitoring.domain_shift import describe
from dgss_core.runtime.segmenter import Segmenter

Size = tuple[int, int]
"""(height, width) in pixels."""
SAME_SHAPE = 0.05
"""Largest difference of the aspect ratios of an image and its labels or mask, as a share."""
RESTAMPED_NS = 1000
"""`dgss bag replay` sends an image with the stamp of another a few nanoseconds later."""
WINDOW = 64
"""Masks of a bag that are kept for images out of their order; for others it is read again."""


class Predictor(Protocol):
    """`identity`: one line; results of another identity are never mixed with these.

    `lanes`: calls of `predict` that may run at once. With one, frames come in their order.
    """

    identity: str
    labels: LabelSet
    lanes: int

    def begin(self, frames: FrameSet) -> None:
        """Called before the frames of a set, which then come in their order."""
        ...

    def prepare(self, image: np.ndarray) -> Any:
        """The first step, which runs in another thread, ahead of the second."""
        ...

    def predict(self, key: FrameKey, prepared: Any) -> Predicted | None:
        """The second step. None if there is no mask for the frame."""
        ...


class SegmenterPredictor:
    """A segmenter. Where its bundle has source statistics, predictions get their descriptors."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter, self.labels = segmenter, segmenter.labels
        self.lanes = segmenter.lanes
        self.identity = f'{segmenter.bundle.fingerprint} {segmenter.backend.identity}'
        self._describes = segmenter.bundle.manifest.source is not None

    def begin(self, frames: FrameSet) -> None:
        """Nothing to do: every frame is predicted by itself."""

    def prepare(self, image: np.ndarray) -> tuple[Size, np.ndarray]:
        return (image.shape[0], image.shape[1]), self.segmenter.prepare(image)

    def predict(self, key: FrameKey, prepared: tuple[Size, np.ndarray]) -> Predicted:
        size, image = prepared
        answer, seconds = self.segmenter.timed(image)
        found = describe(image, answer, len(self.labels)) if self._describes else {}
        descriptors = {name: values.tolist() for name, values in found.items()}
        return Predicted(
            answer.mask, answer.confidence, size, seconds=seconds, descriptors=descriptors
        )


class FolderMasks:
    """A folder of masks, NAME.png for the frame NAME, 8-bit ids of `labels`.

    NAME_confidence.png beside a mask is its confidence: 8 or 16 bits, the highest value is
    certain. Raises DgssError for a folder without PNGs.
    """

    lanes = 1

    def __init__(self, folder: Path, labels: LabelSet) -> None:
        self.folder, self.labels = folder, labels
        files = sorted(folder.rglob('*.png'))
        if not files:
            raise DgssError(f'{folder} holds no PNGs; give the folder of the masks.')
        self.identity = f'masks {folder.resolve()} {files_hash(folder, files)}'

    def begin(self, frames: FrameSet) -> None:
        """Nothing to do: a mask is found by the name of its frame."""

    def prepare(self, image: np.ndarray) -> Size:
        return image.shape[0], image.shape[1]

    def predict(self, key: FrameKey, prepared: Size) -> Predicted | None:
        file = self.folder / f'{key.name}.png'
        if not _is_named(file):
            return None
        mask = read_labels(file)
        _refuse_turned(mask, prepared)
        self.labels.check_ids(mask, 'The masks')
        beside = file.with_name(f'{file.stem}_confidence.png')
        confidence = _read_confidence(beside, mask) if _is_named(beside) else None
        return Predicted(mask, confidence, prepared)


class BagMasks:
    """The masks of a bag, as the node publishes them, paired with the images by their stamps.

    `topic`: of the masks; None for the only topic that is called mask. The topic `confidence`
    beside it is read too. Masks of a region alone are put at its place in the image. Raises
    DgssError if there is no such topic.
    """

    lanes = 1

    def __init__(
        self,
        bag: str | Path | Bag,
        labels: LabelSet,
        topic: str | None = None,
        tolerance_ns: int = 0,
    ) -> None:
        self.labels, self._tolerance_ns = labels, max(tolerance_ns, RESTAMPED_NS)
        self._bag = opened(bag)
        self.topic = find_mask_topic(self._bag, topic)
        beside = sibling(self.topic, 'confidence')
        has_confidence = beside in _planes(self._bag) and beside != self.topic
        self._confidence = beside if has_confidence else None
        self._coverage = recorded_coverage(self._bag, self.topic)
        path = self._bag.path
        files = files_hash(path, path.glob('*'))
        self.identity = f'masks {path.resolve()} {self.topic} {files}'

    def begin(self, frames: FrameSet) -> None:
        self._masks = _Planes(self._bag, self.topic, frames, self._tolerance_ns)
        self._confidences = (
            _Planes(self._bag, self._confidence, frames, self._tolerance_ns)
            if self._confidence
            else None
        )
        if self._masks.unused:
            frames.problems.add(
                f'A mask of {self.topic} has the stamp of no image, or of an image that has a '
                'mask already; look whether two nodes publish there.',
                *map(str, self._masks.unused),
            )

    def prepare(self, image: np.ndarray) -> Size:
        return image.shape[0], image.shape[1]

    def predict(self, key: FrameKey, prepared: Size) -> Predicted | None:
        mask = self._masks.take(key.name)
        if mask is None:
            return None
        self.labels.check_ids(mask, 'The masks')
        confidence = self._confidences.take(key.name) if self._confidences else None
        whole = self._whole(mask, IGNORE, prepared)
        sure = None if confidence is None else self._whole(confidence, 0, prepared)
        return Predicted(whole, sure, prepared, region=self._coverage.roi)

    def _whole(self, plane: np.ndarray, outside: int, size: Size) -> np.ndarray:
        """A plane of the whole image; raises DgssError if the region does not lie within it."""
        view = View(roi=self._coverage.roi)
        view.region(width=size[1], height=size[0])
        if view.roi is None or not self._coverage.is_cut:
            _refuse_turned(plane, size)
            return plane
        whole = np.empty(size, np.uint8)
        view.restore(plane, outside, whole)
        return whole


class _Planes:
    """The mono8 images of a topic by the frames with their stamps, read in their order."""

    def __init__(self, bag: Bag, topic: str, frames: FrameSet, tolerance_ns: int) -> None:
        stamps = [times.best for times in message_times(bag, topic, frames.problems)]
        pairing = pair([key.stamp_ns or 0 for key in frames.keys], stamps, tolerance_ns)
        self.unused = [stamps[place] for place in pairing.unused]
        self._number_of = {frames.keys[i].name: place for i, place in pairing.partner.items()}
        self._read = lambda: iter(bag.messages({topic}, told))
        self._begin()

    def _begin(self) -> None:
        self._messages, self._next = self._read(), 0
        self._kept: dict[int, BagMessage] = {}

    def take(self, name: str) -> np.ndarray | None:
        """The plane of a frame, uint8 (H, W); None if it has none."""
        number = self._number_of.get(name)
        if number is None:
            return None
        if number < self._next and number not in self._kept:
            self._begin()
        # Answers leave the node in the order of their frames; earlier ones are hardly asked for.
        self._kept = {n: kept for n, kept in self._kept.items() if n > number - WINDOW}
        while self._next <= number:
            message = next(self._messages)
            if self._next > number - WINDOW:
                self._kept[self._next] = message
            self._next += 1
        return decode_labels(self._kept.pop(number))[1]


def _refuse_turned(mask: np.ndarray, size: Size) -> None:
    """Raise DgssError for a mask that has the shape of its image only on its side.

    Any other shape may be that of a network.
    """
    given, wanted = mask.shape[1] / mask.shape[0], size[1] / size[0]
    if abs(given / wanted - 1) > SAME_SHAPE >= abs(given * wanted - 1):
        raise DgssError(
            f'The mask is {mask.shape[1]}x{mask.shape[0]} and its image {size[1]}x{size[0]}; turn '
            'the masks as the images are stored.'
        )


def find_mask_topic(bag: Bag, asked: str | None) -> str:
    """The topic of the masks in a bag: `asked`, or the only one that is called mask.

    Raises DgssError if there is no such topic.
    """
    topics = _planes(bag)
    found = [t for t in topics if t == asked or (asked is None and t.split('/')[-1] == 'mask')]
    if len(found) != 1:
        known = ', '.join(topics) or 'none'
        what = 'several topics of masks' if found else f'no topic {asked or "called mask"}'
        raise DgssError(f'{bag.path} has {what}; name the one of the masks: {known}.')
    return found[0]


def _planes(bag: Bag) -> list[str]:
    """The topics of a bag that may hold masks."""
    return [topic.name for topic in bag.topics if topic.msgtype == IMAGE]


def _is_named(file: Path) -> bool:
    """Whether there is a file, or a link that should be one."""
    return file.is_file() or bool(dead_link(file))


def _read_confidence(file: Path, mask: np.ndarray) -> np.ndarray:
    try:
        plane = decode_pixels(file.read_bytes(), cv2.IMREAD_UNCHANGED)
    except (OSError, DgssError) as error:
        raise missing_error(file, f'{file} cannot be read as a confidence: {error}') from error
    if plane.dtype == np.uint16 and plane.ndim == 2:
        plane = np.round(plane / 257).astype(np.uint8)
    if plane.shape != mask.shape or plane.dtype != np.uint8:
        raise DgssError(
            f'{file} is {plane.dtype} {plane.shape} and its mask {mask.shape}; write one channel '
            'of 8 or 16 bits, of the size of the mask.'
        )
    return plane
