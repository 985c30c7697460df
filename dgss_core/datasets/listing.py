"""Lists of the frames to keep: a text file with one name or path per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dgss_core.datasets.layout import Layout, Split, path_pattern
from dgss_core.datasets.matching import Pair, paths_of
from dgss_core.errors import DgssError, shown
from dgss_core.paths import read_bounded

LARGEST_LISTING = 1 << 26
"""Bytes of a list of frames."""


def read_listing(path: str | Path) -> str:
    """The text of a list of frames; DgssError if it cannot be read."""
    return decode_listing(read_bounded(Path(path), LARGEST_LISTING), str(path))


def decode_listing(data: bytes, origin: str) -> str:
    """The text of a list of frames in memory; DgssError names `origin`."""
    try:
        if len(data) > LARGEST_LISTING:
            raise ValueError(f'it is longer than {LARGEST_LISTING >> 20} MiB')
        return data.decode('utf-8-sig')
    except ValueError as error:
        raise DgssError(f'The list of frames {origin} cannot be read: {error}.') from error


def listed_pairs(
    pairs: Sequence[Pair], text: str, origin: str, layout: Layout, split: Split, root: Path
) -> list[Pair]:
    """The pairs that the lines of `text` name, in their order.

    A line is the name of a frame, or the path of its image: the whole path, an end of it in whole
    names, or a path below another root; with or without the suffix. Raises DgssError for an empty
    list, and for lines that name no frame, or more than one.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DgssError(f'{origin} names no frames; write one per line.')
    finder = _Finder(pairs, layout, split)
    found = [finder.find(line) for line in lines]
    missing = [line for line, some in zip(lines, found, strict=True) if not some]
    if missing:
        few = ', '.join(shown(line)[1:-1] for line in missing[:3])
        raise DgssError(
            f'{origin} names {len(missing)} of {len(lines)} frames that {root} does not have '
            f'({few}); copy them, or take them out of the list.'
        )
    for line, some in zip(lines, found, strict=True):
        if len(some) > 1:
            raise DgssError(
                f'{origin} names {shown(line)}, which could be {some[0].image} or '
                f'{some[1].image}; write the path of the image.'
            )
    return [some[0] for some in found]


class _Finder:
    def __init__(self, pairs: Sequence[Pair], layout: Layout, split: Split) -> None:
        self._by_name = {pair.name: pair for pair in pairs}
        self._by_path: dict[str, list[Pair]] = {}
        for pair in pairs:
            bare = pair.image.removesuffix(PurePosixPath(pair.image).suffix)
            for path in {*paths_of(pair.image), *paths_of(bare)}:
                self._by_path.setdefault(path, []).append(pair)
        self._patterns = [path_pattern(image, split.folder) for image in split.images]
        self._frame_name = layout.frame_name

    def find(self, line: str) -> list[Pair]:
        if line in self._by_name:
            return [self._by_name[line]]
        path = PurePosixPath(line).as_posix()
        if path in self._by_path:
            return self._by_path[path]
        # A path below another root, from the parts of it that the layout knows.
        matches = (pattern.match(path) for pattern in self._patterns)
        names = (self._frame_name.format(**match.groupdict()) for match in matches if match)
        return [self._by_name[name] for name in names if name in self._by_name][:1]
