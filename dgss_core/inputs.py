"""Open an image, a folder of images, a video or a bag as a source of frames."""

from __future__ import annotations

from pathlib import Path

from dgss_core.bags.bag import Bag, is_bag
from dgss_core.bags.reader import image_topic, read_bag
from dgss_core.errors import DgssError, why_not
from dgss_core.images.frames import (
    IMAGE_SUFFIXES,
    FrameSource,
    OnError,
    image_source,
    raise_error,
    video_source,
)

VIDEOS = ('mp4', 'matroska', 'h264')
"""Kinds of files that OpenCV may read as a video."""


def read_frames(
    source: str | Path,
    topic: str | None = None,
    *,
    labels: str | Path | None = None,
    fps: float = 10.0,
    on_error: OnError | None = None,
) -> FrameSource:
    """Open an image, a folder of images (in natural order of names), a video or a bag.

    Args:
        topic: image topic, if a bag has several
        labels: for images, a folder of 8-bit PNGs of ids with the stems of the images; an image
            without a PNG has no labels
        fps: rate of the stamps of images, and of a video without a frame rate
        on_error: called with name and reason of each unreadable frame, which is then skipped;
            None raises at the first one

    Raises:
        DgssError: a source that is missing, empty or of unknown kind, or an option that does not
            apply to the source.
    """
    path = Path(source)
    if not path.exists():
        raise DgssError(
            f'There is no {path}; give an image, a folder of images, a video or a bag.'
        )
    report = on_error or raise_error
    if is_bag(path):
        _refuse(
            labels is not None, f'labels= is for images, and {path} is a bag; it brings its own.'
        )
        bag = Bag(path)
        chosen = image_topic(bag, topic)
        return FrameSource(
            path, 'bag', chosen.count, lambda: read_bag(bag, chosen.name, on_error=report)
        )
    _refuse(topic is not None, f'A topic was named, but {path} is not a bag; leave it out.')
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return image_source(path, labels, fps, report)
    if why := why_not(path, *VIDEOS):
        raise DgssError(f'{path} is {why}.')
    _refuse(labels is not None, f'Labels were named, but {path} is a video; leave them out.')
    return video_source(path, fps)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise DgssError(message)
