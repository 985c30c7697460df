"""Image quality flags on the synthetic drive in every condition and on real drives."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.images.frames import read_image
from dgss_core.runtime.monitoring.image_quality import FROZEN, QualityMonitor
from dgss_core.synthetic import CONDITIONS, StreetDrive


def flags(image: np.ndarray) -> set[str]:
    return set(QualityMonitor().update(image).flags)


def exposed(image: np.ndarray, gain: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    return (image * gain + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def frames() -> dict[str, list[np.ndarray]]:
    return {
        condition: [StreetDrive(seed, condition).frame(30).image for seed in (1, 2)]
        for condition in CONDITIONS
    }


@pytest.mark.parametrize('condition', CONDITIONS)
def test_no_condition_counts_as_a_fault(frames, condition: str) -> None:
    assert [flags(image) for image in frames[condition]] == [set(), set()]


@pytest.mark.parametrize('condition', ['day', 'night', 'fog'])
def test_each_fault_has_its_flag(frames, condition: str) -> None:
    for image in frames[condition]:
        width = image.shape[1]
        assert flags(cv2.GaussianBlur(image, (0, 0), 0.0063 * width)) == {'blurred'}
        assert flags(cv2.blur(image, (width // 25, 1))) == {'blurred'}
        assert flags(np.zeros_like(image)) == {'black'}
        assert flags(exposed(np.zeros_like(image), 1)) == {'black'}
    for image in frames['day']:
        assert flags(exposed(image, 0.1)) == {'too dark'}
        assert flags(exposed(image, 8.0)) >= {'saturated'}
    for image in frames['night']:
        assert flags(exposed(image, 0.3)) == {'too dark'}


def test_a_camera_is_frozen_after_some_identical_frames(frames) -> None:
    image = frames['day'][0]
    monitor = QualityMonitor()
    found = [monitor.update(image).flags for _ in range(FROZEN + 1)]
    assert found == [()] * FROZEN + [('frozen',)]
    one_grey_level = image.copy()
    one_grey_level[::2] ^= 1
    assert monitor.update(one_grey_level).flags == ()
    assert [monitor.update(image).flags for _ in range(FROZEN)] == [()] * FROZEN


@pytest.mark.parametrize('size', [(1, 1), (3, 500), (720, 1280)])
def test_any_size_is_judged(size: tuple[int, int]) -> None:
    assert QualityMonitor().update(np.full((*size, 3), 99, np.uint8)).brightness == 99


def test_real_drives_have_no_flags(shared: Path) -> None:
    files = sorted((shared / 'data/camvid/images').glob('*.jpg'))[::8]
    files += sorted((shared / 'data/kitti/images').glob('*'))[::8]
    images = [read_image(path) for path in files]
    found = {path.stem: flags(image) for path, image in zip(files, images, strict=True)}
    # Under a bridge; only the exit is bright.
    assert found.pop('000104_10') == {'too dark'}
    assert set().union(*found.values()) == set()
    blurred = [flags(cv2.GaussianBlur(i, (0, 0), 0.0085 * i.shape[1])) for i in images]
    assert np.mean(['blurred' in found for found in blurred]) > 0.98
