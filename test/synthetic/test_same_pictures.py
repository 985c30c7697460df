"""The pictures of the drive stay as they are: what was trained and measured on them stays true.

`pictures.json` was recorded by this file (`python test/synthetic/test_same_pictures.py`). Where
the arithmetic of the libraries and of the processor is the same as there, every byte must be the
same; elsewhere the last bits of a few pixels may differ.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dgss_core.synthetic import CONDITIONS, StreetDrive, SyntheticFrame

RECORDED = Path(__file__).with_name('pictures.json')
FRAMES = {'day': 0, 'dusk': 30, 'night': 30, 'fog': 30, 'rain': 110, 'snow': 110}
SIZES = {3: (160, 96), 900: (121, 75), 1009: (96, 64), 1012: (160, 96)}
"""Width and height for seeds of each split: streets with rails, grass and traffic on the left."""


def _digest(*parts: np.ndarray) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(f'{part.dtype} {part.shape}'.encode())
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:24]


@cache
def arithmetic() -> str:
    """Digest of what the libraries make of fixed numbers on this machine."""
    numbers = np.random.default_rng(1).random((64, 64, 3))
    single = numbers.astype(np.float32)
    warp = np.array([[0.9, 0.1, 2], [-0.1, 1.1, 3], [1e-3, 2e-3, 1]])
    bytes_ = (numbers * 255).astype(np.uint8)
    map_u, map_v = single[..., 0] * 90 - 20, single[..., 1] * 90 - 20
    return _digest(
        *(np.exp(-each) for each in (numbers, single)),
        *(each**0.6 for each in (numbers, single)),
        *(np.sin(numbers * 30), np.linalg.inv(numbers[:3, :3, 0] + np.eye(3))),
        *(cv2.GaussianBlur(each, (0, 0), 0.7) for each in (numbers, single, bytes_)),
        *(cv2.resize(each, (32, 32), interpolation=cv2.INTER_AREA) for each in (single, bytes_)),
        *(cv2.resize(each, (99, 99), interpolation=cv2.INTER_CUBIC) for each in (single, bytes_)),
        cv2.warpPerspective(bytes_, warp, (64, 64), borderMode=cv2.BORDER_REPLICATE),
        cv2.remap(single, map_u, map_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP),
        cv2.transform(numbers, np.eye(3) + 0.1),
        np.array((np.__version__.split('.')[:2], cv2.__version__.split('.')[:2])),
    )


def _figures(frame: SyntheticFrame) -> dict[str, Any]:
    grid = cv2.resize(frame.image, (4, 4), interpolation=cv2.INTER_AREA)
    shares = np.bincount(frame.labels.ravel(), minlength=256) / frame.labels.size
    return {
        'digest': _digest(frame.image, frame.labels, frame.depth),
        'grid': grid.ravel().tolist(),
        'labels': {str(i): round(float(shares[i]), 4) for i in np.flatnonzero(shares)},
        'nearest': round(float(frame.depth.min()), 3),
    }


def _frame(seed: int, condition: str) -> SyntheticFrame:
    width, height = SIZES[seed]
    return StreetDrive(seed, condition, width=width, height=height).frame(FRAMES[condition])


@pytest.fixture(scope='module')
def recorded() -> dict[str, Any]:
    return json.loads(RECORDED.read_text())


# The conditions of a seed follow one another, on one street.
@pytest.mark.parametrize('condition', CONDITIONS)
@pytest.mark.parametrize('seed', SIZES)
def test_a_picture_is_as_recorded(recorded: dict[str, Any], seed: int, condition: str) -> None:
    found, expected = _figures(_frame(seed, condition)), recorded[f'{condition}_{seed}']
    if arithmetic() == recorded['arithmetic']:
        assert found == expected
    np.testing.assert_allclose(found['grid'], expected['grid'], atol=2)
    assert found['nearest'] == pytest.approx(expected['nearest'], rel=0.01)
    for label in found['labels'].keys() | expected['labels'].keys():
        shares = [each['labels'].get(label, 0) for each in (found, expected)]
        assert shares[0] == pytest.approx(shares[1], abs=0.005), label


if __name__ == '__main__':
    pictures: dict[str, Any] = {'arithmetic': arithmetic()}
    for seed in SIZES:
        for condition in CONDITIONS:
            pictures[f'{condition}_{seed}'] = _figures(_frame(seed, condition))
    lines = ',\n'.join(f'{json.dumps(k)}: {json.dumps(v)}' for k, v in pictures.items())
    RECORDED.write_text(f'{{\n{lines}\n}}\n')
