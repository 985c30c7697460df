"""A labelled drive that the probe bundle answers rightly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streets import film

from dgss_core.bags import write_bag


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    frames = [*film(4, 'day'), *(replace(f, condition='night') for f in film(8)[4:])]
    write_bag(tmp_path / 'drive', frames)
    return tmp_path / 'drive'
