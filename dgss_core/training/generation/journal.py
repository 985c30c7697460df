"""A file of JSON lines, one per finished piece of work, that survives an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgss_core.documents import load_json
from dgss_core.errors import DgssError


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
            if path.exists():
                os.truncate(path, _whole_bytes(path.read_bytes()))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line and flush it to disk. Raises DgssError if that fails."""
        whole = {**entry, **self.work}
        try:
            with self.path.open('a', encoding='utf-8') as file:
                file.write(json.dumps(whole, ensure_ascii=False) + '\n')
                file.flush()
                os.fsync(file.fileno())
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
        f'{path} cannot be written ({error}); choose an --output with enough room that you may '
        'write to.'
    )


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a journal. Raises DgssError if one is not a JSON object."""
    try:
        content = path.read_bytes()
        lines = content[: _whole_bytes(content)].decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DgssError(f'{path} cannot be read as JSON lines ({error}).') from error
    entries = []
    for number, line in enumerate(lines, 1):
        entry = load_json(line, f'{path}, line {number},')
        if not isinstance(entry, dict):
            raise DgssError(f'{path}, line {number}, is not a JSON object; fix it.')
        entries.append(entry)
    return entries


def _whole_bytes(content: bytes) -> int:
    return content.rfind(b'\n') + 1
