from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def export_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run of the tests share, for what takes long to make."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if base.name.startswith('popen-') else base) / 'exported'
    root.mkdir(exist_ok=True)
    return root
