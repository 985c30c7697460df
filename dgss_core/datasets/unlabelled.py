"""Frames without labels: any folder of images, video or bag."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from dgss_core.bags.bag import is_bag
from dgss_core.bars import tracked
from dgss_core.datasets.sample import Sample
from dgss_core.errors import DgssError, plural
from dgss_core.images.compressed import decode_compressed, encode_jpeg
from dgss_core.images.folder import images_in, unique_names
from dgss_core.images.frames import read_image
from dgss_core.inputs import read_frames
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.paths import status_of

UNLABELLED = 'unlabelled'
QUALITY = 95
"""JPEG quality of the frames in memory."""


class Unlabelled:
    """Every `every`-th frame of a source of `read_frames`; all labels are 255.

    `topic`: image topic, if a bag has several. `label_set`: the label set of the training. The
    images of a folder are read on access; videos and bags are read once, and their frames are
    kept in memory as JPEG. Raises DgssError for a source that cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        topic: str | None = None,
        every: int = 1,
        label_set: str = 'cityscapes19',
    ) -> None:
        if every < 1:
            raise DgssError(f'Every {every}th frame is none; give 1 or more.')
        path = Path(root)
        self.label_set = LabelSet.load(label_set)
        self.readers: list[tuple[str, Callable[[], np.ndarray]]] = []
        digest = hashlib.sha256(f'{path} {every}\n'.encode(errors='surrogateescape'))

        def add(name: str, read: Callable[[], np.ndarray], content: bytes) -> None:
            self.readers.append((name, read))
            digest.update(name.encode(errors='surrogateescape') + b'\n' + content)

        if path.is_dir() and not is_bag(path):
            files, left_out = images_in(path)
            if left_out:
                raise left_out[0][1]
            for name, file in list(zip(unique_names(files), files, strict=True))[::every]:
                status = status_of(file)
                stamp = f'{status.st_size} {status.st_mtime_ns}\n'.encode()
                add(name, partial(read_image, file), stamp)
        else:
            frames = islice(read_frames(path, topic), 0, None, every)
            for frame in tracked(frames, f'Reading {path}'):
                packed = encode_jpeg(frame.image, QUALITY)
                add(frame.name, partial(decode_compressed, packed), packed)
        self.title = f'{path.name}, unlabelled, {plural(len(self), "frame")}'
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.readers)

    def __getitem__(self, index: int) -> Sample:
        name, read = self.readers[index]
        image = read()
        nothing = np.full(image.shape[:2], IGNORE, np.uint8)
        return Sample(name, image, nothing, 'day', labelled=False)

    def labels(self, index: int) -> np.ndarray:
        return self[index].labels
