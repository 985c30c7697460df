"""Fixtures of the library's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from probe import write_probe_bundle

from dgss_core.bundle import Bundle, open_bundle


@pytest.fixture
def probe_bundle(tmp_path: Path) -> Bundle:
    """A bundle whose network is known: mask = red // 16, confidence = green."""
    return open_bundle(write_probe_bundle(tmp_path / 'probe'))
