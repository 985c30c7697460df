"""Frames from an image file or a folder of images, with labels from a folder beside it."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from dgss_core.errors import (
    DgssError,
    IncompleteError,
    dead_link,
    missing_error,
    read_head,
    shown,
    what_it_is,
)
from dgss_core.images.compressed import shareable_jpeg
from dgss_core.images.frames import (
    FIRST_STAMP_NS,
    FPS,
    Frame,
    FrameSource,
    OnError,
    period_ns,
    read_labels,
    read_picture,
)
from dgss_core.images.stills import IMAGE_SUFFIXES, format_of, is_turned
from dgss_core.paths import refuse_dead_links

RECORDINGS = {
    'mp4': 'a video',
    'matroska': 'a video',
    'mcap': 'a bag',
    'sqlite': 'a bag',
    'ros1': 'a bag',
}
"""What a file beside images is, by its kind in `what_it_is`."""
OTHER_PICTURES = (b'GIF8', b'8BPS', b'v/1\x01', b'\xff\x0a', b'\0\0\0\x0cJXL ', b'#?RADIANCE')
"""First bytes of picture formats that are not read."""

Left = tuple[str, DgssError]
"""The name of a file that is left out, and the reason."""


def image_source(
    path: Path, labels: str | Path | None, fps: float | None, report: OnError
) -> FrameSource:
    """Frames of an image file or a folder of images; arguments as in `read_frames`."""
    files, left = ([path], []) if path.is_file() else images_in(path)
    names = unique_names(files)
    label_files: dict[str, Path] = {}
    if labels is not None:
        label_files = _label_files(Path(labels), names, files)
        left += _unused(Path(labels), label_files, files)
    period = period_ns(FPS if fps is None else fps)

    def frames() -> Iterator[Frame]:
        for index, (name, file) in enumerate(zip(names, files, strict=True)):
            try:
                image, data = read_picture(file)
                stamp_ns = FIRST_STAMP_NS + round(index * period)
                frame = Frame(name, image, stamp_ns, jpeg=shareable_jpeg(data))
                if name in label_files:
                    frame = _with_labels(frame, file, label_files[name])
            except DgssError as error:
                report(name, error)
                continue
            yield frame
        for name, reason in left:
            report(name, reason)

    if path.is_file():
        return FrameSource(path, 'image', len(files), frames)
    return FrameSource(path, 'folder', len(files), frames, _beside(path))


def images_in(folder: Path) -> tuple[list[Path], list[Left]]:
    """Image files directly in a folder, in natural order of their names, and what is left out.

    Left out are names of images that are no files, other picture formats, videos and bags; texts
    and files of no known kind are passed over. Raises DgssError if there is no image.
    """
    files, left = [], []
    others: dict[str, list[Path]] = defaultdict(list)
    for entry in sorted(folder.iterdir(), key=natural):
        # For example ._NAME, which macOS adds for every file.
        if entry.name.startswith('.'):
            continue
        if entry.suffix.lower() in IMAGE_SUFFIXES:
            if entry.is_file():
                files.append(entry)
            else:
                left.append((entry.stem, DgssError(why_no_file(entry))))
        elif entry.is_file() and (kind := _kind_of(entry)):
            others[kind].append(entry)
    if not files:
        raise _no_images(folder, left, others)
    left += [(found[0].name, _left_out(found, kind)) for kind, found in others.items()]
    return files, left


def _no_images(folder: Path, left: list[Left], others: dict[str, list[Path]]) -> DgssError:
    for kind in RECORDINGS.values():
        if not left and (found := others.get(kind)):
            more = f' and {len(found) - 1} more' if len(found) > 1 else ''
            return DgssError(
                f'{folder} holds no images, but {kind}, {shown(found[0].name)}{more}; give the '
                'path of that file.'
            )
    left = left + [(found[0].name, _left_out(found, kind)) for kind, found in others.items()]
    reasons = ''.join(f' {reason}' for _, reason in left[:1])
    return DgssError(
        f'{folder} holds no images ({", ".join(IMAGE_SUFFIXES)}); name the folder that '
        f'holds them directly, subfolders are not searched.{reasons}'
    )


def _beside(folder: Path) -> str:
    """The note about the folders in a folder of images."""
    below = sorted((e for e in folder.iterdir() if e.is_dir() and e.name[0] != '.'), key=natural)
    # A folder that is named like an image is a fault.
    names = [shown(entry.name) for entry in below if entry.suffix.lower() not in IMAGE_SUFFIXES]
    if not names:
        return ''
    few = ', '.join(names[:3]) + ', ...' * (len(names) > 3)
    return (
        f'{folder} also holds folders ({few}), which are not searched; give the path of one to '
        'read its images.'
    )


def _kind_of(path: Path) -> str:
    """'a video', 'a bag', '.gif files' (a picture), or '' for a file that is none of these."""
    try:
        head = read_head(path)
    except OSError:
        return ''
    for kind, name in RECORDINGS.items():
        if what_it_is(head) and not what_it_is(head, kind):
            return name
    if head.startswith(b'RIFF') and head[8:12] == b'AVI ':
        return 'a video'
    if format_of(head) or head.startswith(OTHER_PICTURES):
        return f'{path.suffix} files' if path.suffix else 'images without a suffix'
    return ''


def _left_out(found: list[Path], kind: str) -> IncompleteError:
    first, folder = shown(found[0].name), found[0].parent
    if kind not in RECORDINGS.values():
        return IncompleteError(
            f'{len(found)} {kind} of {folder} are left out, the first is {first}; save them as '
            'PNG or JPEG, with that suffix.',
            len(found),
        )
    return IncompleteError(
        f'{folder} holds images and {kind}, {first}; the images are read and it is left out; '
        'move it to a folder of its own, and name it there.'
    )


def folders_in(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of `names` that are folders in `folder`.

    Raises DgssError for one that is a link whose target is gone.
    """
    names = list(names)
    refuse_dead_links(folder / name for name in names)
    return [name for name in names if (folder / name).is_dir()]


def why_no_file(path: Path) -> str:
    """What to say of a path that should be an image and is no file."""
    return dead_link(path) or f'{path} is named like an image and is no file; remove or rename it.'


def natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts frame_2 before frame_10."""
    parts = re.findall(r'[0-9]+|[^0-9]+', path.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def unique_names(files: list[Path]) -> list[str]:
    """The stem of each file, or its whole name (a_png for a.png) if the stem occurs twice."""
    stems = [_stem(file) for file in files]
    counts = Counter(stems)
    names: dict[str, None] = {}
    for file, stem in zip(files, stems, strict=True):
        name = stem if counts[stem] == 1 else f'{stem}_{file.suffix[1:]}'
        while name in names:
            name += '_'
        names[name] = None
    return list(names)


def _stem(file: Path) -> str:
    """The name without the suffix of an image; 12.5 has none."""
    return file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name


def _label_files(folder: Path, names: list[str], files: list[Path]) -> dict[str, Path]:
    """Label file by frame name, for the frames that have one."""
    if not folder.is_dir():
        raise missing_error(
            folder, f'There is no labels folder {folder}; give a folder of PNGs of ids.'
        )
    candidates = {
        name: folder / f'{file.stem}.png' for name, file in zip(names, files, strict=True)
    }
    found = {name: file for name, file in candidates.items() if file.is_file() or dead_link(file)}
    if not found:
        if others := _no_pngs(folder, found, files):
            raise DgssError(_not_read(folder, others))
        raise DgssError(
            f'No PNG in {folder} has the stem of an image (for example {files[0].stem}.png); '
            'name labels like their images.'
        )
    return found


def _no_pngs(folder: Path, used: dict[str, Path], images: list[Path]) -> list[Path]:
    """The pictures of the labels folder that are no PNGs, of the images without a PNG."""
    stems = {image.stem for image in images} - {file.stem for file in used.values()}
    own = {os.path.realpath(image) for image in images}
    return [
        entry
        for entry in sorted(folder.iterdir(), key=natural)
        if entry.stem in stems
        and entry.suffix.lower() in IMAGE_SUFFIXES
        and entry.suffix.lower() != '.png'
        and os.path.realpath(entry) not in own
    ]


def _not_read(folder: Path, others: list[Path]) -> str:
    return (
        f'{len(others)} label files in {folder} are no PNGs and are not read, the first is '
        f'{shown(others[0].name)}; save labels as PNGs of ids.'
    )


def _unused(folder: Path, used: dict[str, Path], images: list[Path]) -> list[Left]:
    """What is left out of the labels folder: PNGs of no image, and pictures that are no PNGs."""
    left: list[Left] = []
    if no_pngs := _no_pngs(folder, used, images):
        left.append((no_pngs[0].name, IncompleteError(_not_read(folder, no_pngs))))
    files = {file for file in folder.iterdir() if file.suffix.lower() == '.png'}
    others = sorted(files - {*used.values()}, key=natural)
    if others:
        first = others[0].name
        reason = (
            f'{len(others)} of {len(files)} label files in {folder} belong to no image, the '
            f'first is {shown(first)}; name labels like their images, or take them out.'
        )
        left.append((first, IncompleteError(reason)))
    return left


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
