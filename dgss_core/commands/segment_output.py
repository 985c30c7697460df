"""The output folder of `dgss segment`: a page, and folders of pictures beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dgss_core.errors import DgssError, cause
from dgss_core.files import (
    STAGING,
    Kind,
    is_empty,
    refuse_unwritable,
    replacing_folder,
    write_whole,
)

PAGE = 'index.html'
PAGE_MARK = '<meta name="generator" content="dgss segment">'
FOLDERS = {'masks': '.png', 'overlays': '.jpg', 'frames': '.jpg', 'thumbnails': '.jpg'}
"""The folders of a result, and the suffix of their files."""


@contextmanager
def result_folder(output: Path, source: Path, overwrite: bool, empty_page: str) -> Iterator[Path]:
    """Yield a folder with a page: `output` if it is new, else one that takes its place.

    `empty_page`: a page without frames, which marks the folder as a result from the start. An
    earlier result stays until the new one is complete, and files of others in the folder are kept.
    After an exception, a new folder without a mask is removed. Raises DgssError if the folder is
    in use for something else.
    """
    refuse_output(output, source, overwrite)
    is_new = not output.exists() or is_empty(output)
    if is_new or os.path.ismount(output):
        with _in_place(output, is_new, empty_page):
            yield output
        return
    with replacing_folder(output, RESULT, inputs=[source]) as staging:
        for entry in output.iterdir():
            if entry.name not in (PAGE, *FOLDERS) and not entry.name.startswith(STAGING):
                _keep(entry, staging / entry.name)
        _begin(staging, empty_page)
        yield staging


def refuse_output(output: Path, source: Path, overwrite: bool) -> None:
    """Raise DgssError if `result_folder` would, before the network is loaded."""
    if output.resolve() == source.resolve() or (output.exists() and not output.is_dir()):
        raise DgssError(f'{output} cannot be the output; name a folder of its own.')
    if output.is_symlink():
        raise DgssError(f'{output} is a link; give the path of the folder that it points to.')
    try:
        is_new = not output.exists() or is_empty(output)
        refuse_unwritable(output if is_new or os.path.ismount(output) else output.parent)
        if is_new:
            return
        why = _why_no_result(output)
    except OSError as error:
        raise DgssError(
            f'{output} cannot be read: {cause(error)}; choose another folder.'
        ) from error
    if not overwrite:
        raise DgssError(f'{output} is not empty; choose another folder or pass --overwrite.')
    if why:
        raise DgssError(f'{output} holds no earlier result ({why}); choose another folder.')
    if output.resolve() in source.resolve().parents:
        raise DgssError(f'{source} lies inside {output}; choose another folder.')


def _why_no_result(output: Path) -> str:
    page = output / PAGE
    if not page.is_file() or PAGE_MARK not in page.read_text(errors='replace'):
        return f'it has no {PAGE} of dgss segment'
    for name, suffix in FOLDERS.items():
        folder = output / name
        # Of a link only the link is removed.
        others = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
        for path in others:
            if path.suffix != suffix and not path.name.startswith(STAGING):
                return f'it holds {name}/{path.name}'
    return ''


RESULT = Kind('a result of dgss segment', _why_no_result)


def _begin(output: Path, empty_page: str) -> None:
    """Write the page that marks a folder as a result, then make its folders."""
    write_whole(output / PAGE, empty_page.encode())
    for name in FOLDERS:
        (output / name).mkdir()


@contextmanager
def _in_place(output: Path, is_new: bool, empty_page: str) -> Iterator[None]:
    """Write to `output` itself. Without a mask, nothing of it stays."""
    was_there = output.exists()
    output.mkdir(parents=True, exist_ok=True)
    if not is_new:  # A mount point, whose place no other folder can take.
        _remove_result(output)
    try:
        _begin(output, empty_page)
        yield
    except BaseException:
        if not any((output / 'masks').glob('*')):
            _remove_result(output)
            if not was_there:
                with suppress(OSError):
                    output.rmdir()
        raise


def _remove_result(output: Path) -> None:
    for name in FOLDERS:
        if (output / name).is_symlink():
            (output / name).unlink()
        else:
            shutil.rmtree(output / name, ignore_errors=True)
    (output / PAGE).unlink(missing_ok=True)


def _keep(entry: Path, target: Path) -> None:
    """Give a file or a folder of others a second name; it is copied where that is impossible."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, target, symlinks=True, copy_function=_link)
    else:
        _link(entry, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
