"""Observations of the frames of one camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from probe import write_probe_bundle

from dgss_core.runtime.bundle import Bundle, open_bundle
from dgss_core.runtime.bundle.writing import update_manifest
from dgss_core.runtime.monitoring.domain_shift import collect
from dgss_core.runtime.segmenter import Prediction
from dgss_ros.health.watch import RECENT, CameraWatch


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(write_probe_bundle(tmp_path / 'probe'))


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def mask(class_id: int, other_rows: int = 0) -> Prediction:
    ids = np.full((48, 64), class_id, np.uint8)
    ids[:other_rows] = 7
    return Prediction(ids, np.full_like(ids, 200))


def test_masks_of_one_class_are_counted_in_a_row(bundle: Bundle) -> None:
    watch = CameraWatch()
    counted = []
    for prediction in [mask(3), mask(3), mask(4), mask(4), mask(4, 1), mask(255), mask(255)]:
        watch.update(picture(0), prediction, bundle)
        counted.append((watch.report.largest, watch.report.one_class))
    assert counted == [(3, 1), (3, 2), (4, 1), (4, 2), (4, 0), (255, 1), (255, 2)]
    assert watch.report.share == 1


def test_a_fault_is_reported_when_most_of_the_last_pictures_show_it(bundle: Bundle) -> None:
    watch, black = CameraWatch(), np.zeros((48, 64, 3), np.uint8)
    for seed in range(RECENT):
        watch.update(picture(seed), mask(1), bundle)
    flags = []
    for number in range(RECENT):
        watch.update(black + number % 2, mask(1), bundle)
        flags.append(watch.report.flags)
    assert flags == [()] * 5 + [('black',)] * 5
    assert watch.report.quality is not None
    assert watch.report.quality.brightness < 2
    for _ in range(3 * RECENT):
        watch.update(black, mask(1), bundle)
    assert watch.report.flags == watch.report.quality.flags == ('black', 'frozen')


def test_the_distance_is_measured_from_the_source_of_the_current_bundle(bundle: Bundle) -> None:
    watch = CameraWatch()
    assert watch.update(picture(0), mask(1), bundle) is None
    assert watch.report.distances == {}
    frames = [(picture(seed), mask(seed % 5)) for seed in range(20)]
    known = update_manifest(bundle, source=collect(frames, len(bundle.labels)))
    distances = [watch.update(picture(seed), mask(seed % 5), known) for seed in range(10)]
    assert watch.report.distances.keys() == {'image', 'confidence', 'classes'}
    assert distances[-1] == max(watch.report.distances.values()) < 1.5
    far = [watch.update(picture(seed) // 4, mask(1), known) for seed in range(10)]
    assert far[-1] > 2 * distances[-1]
    assert watch.update(picture(0), mask(1), bundle) is None
