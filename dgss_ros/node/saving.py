"""Writes saved frames: none replaces another, and together they cannot fill the disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from dgss_core.errors import DgssError, cause
from dgss_core.files import write_new

MOST_FRAMES = 1000
"""Limit of saved frames in a folder: anyone on the network may call the service."""
FREE_BYTES = 1 << 30
"""Space that stays free on the disk of the folder."""
DESCRIPTION = '.json'


def write_frame(folder: Path, stem: str, contents: Mapping[str, bytes]) -> list[Path]:
    """Write one frame as files named `stem` and a key of `contents`; all of them or none.

    The description, which is counted, is the last: a kill may leave files of a frame without one.
    If the stem is taken, as by a camera that does not stamp, `_2`, `_3`, ... is appended. Raises
    DgssError if the folder is full, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, sum(map(len, contents.values())))
        for number in count(1):
            name = stem if number == 1 else f'{stem}_{number}'
            paths = {folder / f'{name}{suffix}': data for suffix, data in contents.items()}
            if not any(path.exists() for path in paths) and _write(paths):
                return list(paths)
    except OSError as error:
        raise DgssError(
            f'{folder} cannot be written: {cause(error)}; correct save_folder.'
        ) from error
    raise AssertionError


def _check_room(folder: Path, size: int) -> None:
    saved = sum(1 for _ in folder.glob(f'*{DESCRIPTION}'))
    if saved >= MOST_FRAMES:
        raise DgssError(
            f'{folder} holds {saved} saved frames, and {MOST_FRAMES} is the limit; move them away.'
        )
    if shutil.disk_usage(folder).free < FREE_BYTES + size:
        raise DgssError(
            f'The disk of {folder} has less than {FREE_BYTES >> 20} MiB left; free space on it.'
        )


def _write(paths: Mapping[Path, bytes]) -> bool:
    """Write new files; False if another process has just written one of them."""
    written = []
    try:
        for path, data in paths.items():
            write_new(path, data)
            written.append(path)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            return False
        raise
    return True
