"""Frames from an image, a folder of images or a video; `dgss_core.inputs` opens any source."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.images.compressed import decode_compressed, decode_pixels, is_turned

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')

FIRST_STAMP_NS = 1_700_000_000 * 10**9
"""Stamp of the first frame of a source without a clock; zero would mean 'no stamp' in ROS."""


@dataclass(frozen=True)
class Frame:
    """One camera image.

    `name`: unique within its source and usable as a file name. `image`: RGB uint8 (H, W, 3).
    `stamp_ns`: nanoseconds since the epoch. `labels`: uint8 (H, W) ids, 255 unlabelled.
    `condition`: day, dusk, night, fog, rain or snow, if known.
    """

    name: str
    image: np.ndarray
    stamp_ns: int
    labels: np.ndarray | None = None
    condition: str | None = None


OnError = Callable[[str, DgssError], object]
"""Called with the name of a frame that cannot be read, and the reason."""


@dataclass(frozen=True)
class FrameSource:
    """Frames of one source, read lazily; can be iterated several times.

    `kind`: image, folder, video or bag. `length`: number of frames, None if unknown; for a video
    an estimate from its container.
    """

    path: Path
    kind: str
    length: int | None
    open: Callable[[], Iterator[Frame]]

    def __iter__(self) -> Iterator[Frame]:
        return self.open()


def read_image(path: Path) -> np.ndarray:
    """Read an image file as RGB uint8 (H, W, 3), turned upright by its EXIF orientation.

    Raises DgssError with the file and the reason if it cannot be read.
    """
    try:
        return decode_compressed(path.read_bytes(), upright=True)
    except (OSError, DgssError) as error:
        raise DgssError(f'{path} cannot be read: {error}') from error


def read_labels(path: Path) -> np.ndarray:
    """Read a PNG of ids as uint8 (H, W); DgssError if it is not 8-bit with one channel."""
    try:
        labels = decode_pixels(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    except (OSError, DgssError) as error:
        raise DgssError(
            f'{path} cannot be read as an image ({error}); save the labels as PNG again.'
        ) from error
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DgssError(
            f'{path} is not a label image (shape {labels.shape}, {labels.dtype}); '
            'labels are 8-bit PNGs of one channel that hold the ids.'
        )
    return labels


def image_source(
    path: Path, labels: str | Path | None, fps: float, report: OnError
) -> FrameSource:
    """Frames of an image file or a folder of images; arguments as in `read_frames`."""
    files = [path] if path.is_file() else images_in(path)
    names = _unique_names(files)
    label_files = _label_files(Path(labels), names, files) if labels is not None else {}
    period_ns = _period_ns(fps)

    def frames() -> Iterator[Frame]:
        for index, (name, file) in enumerate(zip(names, files, strict=True)):
            try:
                frame = Frame(name, read_image(file), FIRST_STAMP_NS + round(index * period_ns))
                if name in label_files:
                    frame = _with_labels(frame, file, label_files[name])
            except DgssError as error:
                report(name, error)
                continue
            yield frame

    return FrameSource(path, 'image' if path.is_file() else 'folder', len(files), frames)


def images_in(folder: Path) -> list[Path]:
    """Image files directly in a folder, in natural order of their names; DgssError for none."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()]
    if not files:
        raise DgssError(
            f'{folder} holds no images ({", ".join(IMAGE_SUFFIXES)}); name the folder that '
            'holds them directly, subfolders are not searched.'
        )
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts frame_2 before frame_10."""
    parts = re.findall(r'[0-9]+|[^0-9]+', path.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _unique_names(files: list[Path]) -> list[str]:
    """The stem of each file, or its whole name (a_png for a.png) if the stem occurs twice."""
    stems = Counter(file.stem for file in files)
    names: dict[str, None] = {}
    for file in files:
        name = file.stem if stems[file.stem] == 1 else f'{file.stem}_{file.suffix[1:]}'
        while name in names:
            name += '_'
        names[name] = None
    return list(names)


def _label_files(folder: Path, names: list[str], files: list[Path]) -> dict[str, Path]:
    """Label file by frame name, for the frames that have one."""
    if not folder.is_dir():
        raise DgssError(f'There is no labels folder {folder}; give a folder of PNGs of ids.')
    candidates = {
        name: folder / f'{file.stem}.png' for name, file in zip(names, files, strict=True)
    }
    found = {name: file for name, file in candidates.items() if file.is_file()}
    if not found:
        raise DgssError(
            f'No PNG in {folder} has the stem of an image (for example {files[0].stem}.png); '
            'name labels like their images.'
        )
    return found


def _with_labels(frame: Frame, image: Path, file: Path) -> Frame:
    labels = read_labels(file)
    if is_turned(image.read_bytes()):
        raise DgssError(
            f'{image} has an EXIF orientation, and the labels {file} have none: one of the two is '
            'turned; save the image upright without the tag, as it was labelled.'
        )
    if labels.shape != frame.image.shape[:2]:
        raise DgssError(
            f'{file} is {labels.shape[1]}x{labels.shape[0]} and its image '
            f'{frame.image.shape[1]}x{frame.image.shape[0]}; labels have the size of their image.'
        )
    return replace(frame, labels=labels)


def video_source(path: Path, fps: float) -> FrameSource:
    """Frames of a video; `fps` is used if the video has no frame rate."""
    capture = cv2.VideoCapture(str(path))
    readable, _ = capture.read()
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    own_fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if not readable:
        raise DgssError(
            f'{path} is neither an image ({", ".join(IMAGE_SUFFIXES)}), a bag '
            '(.mcap, .db3) nor a video that OpenCV can read.'
        )
    period_ns = _period_ns(own_fps if math.isfinite(own_fps) and own_fps > 0 else fps)

    def frames() -> Iterator[Frame]:
        capture = cv2.VideoCapture(str(path))
        try:
            index = 0
            while (grabbed := capture.read())[0]:
                image = cv2.cvtColor(grabbed[1], cv2.COLOR_BGR2RGB)
                yield Frame(f'{index:06d}', image, FIRST_STAMP_NS + round(index * period_ns))
                index += 1
        finally:
            capture.release()

    return FrameSource(path, 'video', count if count > 0 else None, frames)


def raise_error(name: str, error: DgssError) -> None:
    """An `OnError` that raises at the first frame that cannot be read."""
    raise error


def _period_ns(fps: float) -> float:
    if not 0 < fps <= 1e6:
        raise DgssError(f'{fps} is not a frame rate; give frames per second above zero.')
    return 1e9 / fps
