"""The list of what an export wrote, by which its folder is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from dgss_core.errors import read_regular
from dgss_core.files import Kind

LIST = 'drives.txt'
MARK = 'Written by dgss evaluate --export; replaced by the next one.'


def write_list(folder: Path, names: Iterable[str]) -> None:
    """Write the names of what else is in the folder of an export."""
    text = '\n'.join([MARK, *names]) + '\n'
    (folder / LIST).write_bytes(text.encode(errors='surrogateescape'))


def listed(name: str, why_not: Callable[[Path], str]) -> Kind:
    """The kind of a folder that holds its list and what that names.

    `why_not`: the reason why one of these is not what was written, '' if it is.
    """

    def why(folder: Path) -> str:
        try:
            data = read_regular(folder / LIST)
            mark, *names = data.decode(errors='surrogateescape').splitlines()
        except (OSError, ValueError):
            mark, names = '', []
        if mark != MARK:
            return f'it has no {LIST} of dgss evaluate'
        for path in folder.iterdir():
            if path.name != LIST and path.name not in names:
                return f'it holds {path.name}'
            if path.name != LIST and (reason := why_not(path)):
                return f'{path.name}: {reason}'
        return ''

    return Kind(name, why)
