"""A module that leaves a mark when something imports it or calls what it holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CODE = """
from pathlib import Path
MARK = Path(__file__).with_name('mark')
MARK.write_text('imported')
class Call:
    def __init__(self, *args, **options): MARK.write_text('called')
call = Call
"""


class Canary:
    """The module `name` in `folder`, on the path of this process and of those it starts.

    `names`: texts that name it, as a document could.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = 'canary_module'
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{name}.py').write_text(CODE)
        self.mark = folder / 'mark'
        self.name = name
        self.names = (name, f'{name}.Call', f'{name}:Call', f'{name}/Call', f'{name}/msg/Call')
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv('PYTHONPATH', str(folder), prepend=':')

    @property
    def sang(self) -> bool:
        """Whether the module was imported."""
        return self.mark.exists() or self.name in sys.modules
