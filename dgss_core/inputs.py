"""Open an image, a folder of images, a video or a bag as a source of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dgss_core.bags.bag import Bag, is_bag
from dgss_core.bags.interfaces import IMAGES, VIDEOS
from dgss_core.bags.metadata import METADATA, is_metadata, is_stored
from dgss_core.bags.reader import image_topic, read_bag
from dgss_core.errors import DgssError, IncompleteError, plural, read_head, shown
from dgss_core.images.folder import image_source
from dgss_core.images.frames import Frame, FrameSource, OnError, raise_error
from dgss_core.images.stills import IMAGE_SUFFIXES, format_of
from dgss_core.images.video import video_source
from dgss_core.paths import missing, reading

NEXT_JPEG = b'\xff\xd9\xff\xd8\xff'
"""The end of a JPEG and the start of another, as in a stream of MJPEG."""
FILM_HEAD = 1 << 25
"""Bytes in which a stream begins its second picture."""


def read_frames(
    source: str | Path,
    topic: str | None = None,
    *,
    labels: str | Path | None = None,
    fps: float | None = None,
    labelled: bool = True,
    on_error: OnError | None = None,
) -> FrameSource:
    """Open an image, a folder of images (in natural order of names), a video or a bag.

    Args:
        topic: image topic, if a bag has several
        labels: for images, a folder of PNGs of ids with the stems of the images; an image
            without a PNG has no labels
        fps: rate of the stamps of images (default: 10), and of a video instead of its own stamps
        labelled: read the labels beside the images of a bag too
        on_error: called with name and reason of each frame that cannot be read, which is then
            skipped, and of what a source promised and does not hold; None raises at the first one

    Raises:
        DgssError: a source that is missing, empty or of unknown kind, or an option that does not
            apply to the source.
    """
    with reading(Path(source)):
        return _open(Path(source), topic, labels, fps, labelled, on_error or raise_error)


def _open(
    path: Path,
    topic: str | None,
    labels: str | Path | None,
    fps: float | None,
    labelled: bool,
    report: OnError,
) -> FrameSource:
    if not path.is_dir() and not path.is_file():
        raise missing('', path, 'give an image, a folder of images, a video or a bag')
    pictures = _pictures_in(path)
    if is_bag(path) and (_is_whole_bag(path) or not pictures):
        _refuse(
            labels is not None,
            f'Labels can be given for images only, and {path} is a bag; it brings its own.',
        )
        _refuse(fps is not None, f'{path} is a bag and brings its own stamps; leave fps out.')
        bag = Bag(path)
        chosen = image_topic(bag, topic, (*IMAGES, *VIDEOS))

        def frames() -> Iterator[Frame]:
            yield from read_bag(bag, chosen.name, labelled=labelled, on_error=report)
            if pictures:
                report(pictures[0].name, _beside(path, pictures))

        return FrameSource(path, 'bag', chosen.count, frames, ' '.join(bag.notes))
    _refuse(topic is not None, f'A topic was named, but {path} is not a bag; leave it out.')
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES or _is_picture(path):
        return image_source(path, labels, fps, report)
    _refuse(labels is not None, f'Labels were named, but {path} is a video; leave them out.')
    return video_source(path, fps, report)


def _pictures_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)


def _is_whole_bag(path: Path) -> bool:
    """Whether a folder is a bag by its metadata, and not only holds a recording."""
    if not path.is_dir():
        return True
    return is_metadata(path / METADATA) and any(map(is_stored, path.iterdir()))


def _beside(path: Path, pictures: list[Path]) -> IncompleteError:
    return IncompleteError(
        f'{path} is a bag and also holds {plural(len(pictures), "image")}, the first is '
        f'{shown(pictures[0].name)}; the bag is read and they are left out; move them to a folder '
        'of their own.'
    )


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture by its content, whatever its name."""
    if (kind := format_of(read_head(path))) is None:
        return False
    with open(path, 'rb') as file:
        return kind != 'JPEG' or NEXT_JPEG not in file.read(FILM_HEAD)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise DgssError(message)
