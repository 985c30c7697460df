"""Fixtures of the tests of networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def record(shared: Path) -> Callable[[str], dict]:
    """Read recorded inputs and outputs of a published system by name."""
    torch = pytest.importorskip('torch')

    def read(name: str) -> dict:
        return torch.load(shared / 'parity' / f'{name}.pt', weights_only=True)

    return read
