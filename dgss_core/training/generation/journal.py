"""A file of JSON lines, one per finished piece of work, that outlives an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError


class Journal:
    """What has been done so far is in `entries`, in the order it was done.

    A last line that was only half written is cut off. Raises DgssError for a file that is no
    journal, or that was begun with another `work`: what all its entries have in common.
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
            raise self._unwritable(error) from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line and wait until the disk has it. Raises DgssError when it cannot."""
        whole = {**entry, **self.work}
        try:
            with self.path.open('a', encoding='utf-8') as file:
                file.write(json.dumps(whole, ensure_ascii=False) + '\n')
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self.entries.append(whole)

    def _unwritable(self, error: OSError) -> DgssError:
        return DgssError(
            f'{self.path} cannot be written ({error}); choose an --output with enough room that '
            'you may write to.'
        )


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal. Raises DgssError for a file that is none."""
    try:
        content = path.read_bytes()
        lines = content[: _whole_bytes(content)].decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DgssError(f'{path} cannot be read as JSON lines ({error}).') from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DgssError(f'{path}, line {number}, is not JSON ({error}); mend it.') from error
        if not isinstance(entry, dict):
            raise DgssError(f'{path}, line {number}, is not a JSON object; mend it.')
        entries.append(entry)
    return entries


def _whole_bytes(content: bytes) -> int:
    return content.rfind(b'\n') + 1
