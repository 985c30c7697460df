"""Opens any input: an image, a folder of images, a video or a bag gives the same frames."""

from __future__ import annotations

from pathlib import Path

from dgss_core.bags.reader import image_topic, is_bag, read_bag
from dgss_core.errors import DgssError
from dgss_core.images.frames import (
    IMAGE_SUFFIXES,
    FrameSource,
    OnError,
    image_source,
    raise_error,
    video_source,
)


def read_frames(
    source: str | Path,
    topic: str | None = None,
    *,
    labels: str | Path | None = None,
    fps: float = 10.0,
    on_error: OnError | None = None,
) -> FrameSource:
    """Open an image, a folder of images (in the order of their names), a video or a bag.

    `topic`: the image topic of a bag, where it has several. `labels`: for images, a folder of
    8-bit PNGs of ids with the stems of the images; images without one have no labels. `fps`:
    rate of the stamps of images, and of a video that does not tell its own. `on_error`: is
    called with the name and the reason for each frame that cannot be read, which is then left
    out; without it the first such frame raises.

    Raises DgssError for a source that is missing, empty or of no known kind, and for an option
    that the source has no use for.
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
        chosen = image_topic(path, topic)
        return FrameSource(
            path, 'bag', chosen.count, lambda: read_bag(path, chosen.name, on_error=report)
        )
    _refuse(topic is not None, f'A topic was named, but {path} is not a bag; leave it out.')
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return image_source(path, labels, fps, report)
    _refuse(labels is not None, f'Labels were named, but {path} is a video; leave them out.')
    return video_source(path, fps)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise DgssError(message)
