"""What every backend promises, and how one is chosen."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dgss_core.bundle import CONFIDENCE, MASK, Bundle
from dgss_core.errors import DgssError
from dgss_core.runtimes import check_backend, load_backend


@pytest.mark.parametrize('name', ['auto', 'onnxruntime', 'null', 'null:0', 'null:20'])
def test_backends_that_exist(name: str) -> None:
    check_backend(name)


@pytest.mark.parametrize('name', ['onnx', '', 'null:', 'null:-1', 'null:1.5', 'null:x', 'null5'])
def test_unknown_backends_are_named(name: str) -> None:
    with pytest.raises(DgssError, match='use auto or one of onnxruntime'):
        check_backend(name)


def test_the_null_backend_answers_a_constant_after_its_time(probe_bundle: Bundle) -> None:
    backend = load_backend(probe_bundle, 'null:30')
    images = np.zeros((2, probe_bundle.height, probe_bundle.width, 3), np.uint8)
    start = time.perf_counter()
    outputs = backend.run(images)
    assert time.perf_counter() - start >= 0.03
    assert set(outputs[MASK].flat) == {0}
    assert set(outputs[CONFIDENCE].flat) == {255}
    assert outputs[MASK].shape == outputs[CONFIDENCE].shape == images.shape[:3]
    assert backend.name == backend.identity == 'null:30'
