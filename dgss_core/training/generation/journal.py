"""A file of JSON lines, one per finished piece of work, that survives an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgss_core.documents import load_json, refuse_other_kind
from dgss_core.errors import DgssError, cause, read_regular
from dgss_core.files import append_line, write_whole


class Journal:
    """A journal of finished work; `entries` are in order of completion.

    `work` holds the values that all entries share. A last line that is incomplete is cut off.
    Raises DgssError if the file is not a journal, was begun with other values of `work`, or
    cannot be written.
    """

    def __init__(self, path: Path, work: Mapping[str, Any]) -> None:
        self.path, self.work = path, dict(work)
        self.entries = read_entries(path) if path.exists() else []
        for entry in self.entries[:1]:
            for key, value in self.work.items():
                if entry.get(key) != value:
                    raise DgssError(
                        f'{path} was begun with {key} {entry.get(key)!r}, not {value!r}; go on '
                        'with that, or choose another --output.'
                    )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = read_regular(path) if path.exists() else b''
            lines, tail = _split(content)
            if tail and not lines and not tail.startswith(b'{"'):
                raise DgssError(f'{path} is no file of JSON lines; choose another --output.')
            # Made before the first piece of work: the file marks what lies beside it as ours.
            whole = b''.join(line + b'\n' for line in lines)
            if whole != content or not path.exists():
                write_whole(path, whole)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line and flush it to disk. Raises DgssError if that fails."""
        whole = {**entry, **self.work}
        try:
            append_line(self.path, json.dumps(whole, ensure_ascii=False))
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.entries.append(whole)

    def texts(self, key: str) -> list[str]:
        """The value of `key` in every entry. Raises DgssError if one is no text."""
        values = []
        for number, entry in enumerate(self.entries, 1):
            value = entry.get(key)
            if not isinstance(value, str):
                raise DgssError(
                    f'{self.path}, line {number}, has no text for {key}; take that line out.'
                )
            values.append(value)
        return values


def unwritable(path: Path, error: OSError) -> DgssError:
    """The error for an output file that cannot be written."""
    return DgssError(
        f'{path} cannot be written ({cause(error)}); choose an --output with enough room that you '
        'may write to.'
    )


def read_entries(path: Path, *, killed: bool = True, nan: bool = False) -> list[dict[str, Any]]:
    """The lines of a file of JSON objects. Raises DgssError if one is not a JSON object.

    `killed`: leave out an incomplete last line, as a killed process may have written it. `nan`:
    read NaN as None.
    """
    refuse_other_kind(path)
    try:
        lines, tail = _split(read_regular(path))
    except OSError as error:
        raise DgssError(f'{path} cannot be read as JSON lines ({cause(error)}).') from error
    entries = []
    for number, line in enumerate(lines if killed or not tail else [*lines, tail], 1):
        entry = load_json(line, f'{path}, line {number},', nan=nan)
        if not isinstance(entry, dict):
            raise DgssError(f'{path}, line {number}, is not a JSON object; fix it.')
        entries.append(entry)
    return entries


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    """The complete lines, and an incomplete last one; an object needs no newline at its end."""
    *lines, tail = content.split(b'\n')
    try:
        if isinstance(json.loads(tail), dict):
            return [*lines, tail], b''
    except ValueError:
        pass
    return lines, tail
