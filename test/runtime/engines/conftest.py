"""Bundles that an engine is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgss_core.runtime.bundle import Bundle


@pytest.fixture
def sound(tmp_path: Path) -> Bundle:
    """A correct bundle in low precision, which needs a proof."""
    from small_networks import write_classifier  # needs onnx

    return write_classifier(tmp_path / 'sound', precision='fp16')


@pytest.fixture
def broken(tmp_path: Path) -> Bundle:
    """Its weights differ from those behind the answers in the reference frames."""
    from small_networks import write_classifier  # needs onnx

    return write_classifier(tmp_path / 'broken', precision='fp16', noise=0.3)
