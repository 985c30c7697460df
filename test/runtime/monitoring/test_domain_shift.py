"""The domain-shift monitor: its arithmetic, and its distances for night, fog and dusk.

`-s` prints the figures of docs/monitoring.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.images.frames import read_image
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.monitoring.domain_shift import (
    DomainShiftMonitor,
    SourceStatistics,
    collect,
    describe,
)
from dgss_core.runtime.segmenter import Prediction, Segmenter
from dgss_core.synthetic import StreetDrive

Frame = tuple[np.ndarray, Prediction]


def auroc(low: Sequence[float], high: Sequence[float]) -> float:
    """The probability that a value of `high` is above a value of `low`."""
    return float(np.mean(np.array(high)[:, None] > np.array(low)))


def furthest(source: SourceStatistics, frames: Iterable[Frame]) -> float:
    monitor = DomainShiftMonitor(source)
    for image, prediction in frames:
        distances = monitor.update(image, prediction)
    return max(distances.values())


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    # In fp32, because `auto` takes bf16 where the CPU has it, and the figures then differ.
    return Segmenter(open_bundle(), 'onnxruntime')


def predicted(segmenter: Segmenter, image: np.ndarray) -> Frame:
    prepared = segmenter.prepare(image)
    return prepared, segmenter.predict_prepared([prepared])[0]


@cache
def drive(segmenter: Segmenter, seed: int, condition: str = 'day') -> list[Frame]:
    width, height = segmenter.bundle.width, segmenter.bundle.height
    frames = StreetDrive(seed, condition, width=width, height=height)
    return [predicted(segmenter, frames.frame(index).image) for index in (0, 30)]


@pytest.fixture(scope='module')
def source(segmenter: Segmenter) -> SourceStatistics:
    source = segmenter.bundle.manifest.source
    assert source is not None, 'the embedded bundle has source statistics'
    return source


def noise_frame(seed: int, statistics: bool = False) -> Frame:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    mask = rng.integers(0, 4, (48, 64)).astype(np.uint8)
    confidence = rng.integers(100, 256, (48, 64)).astype(np.uint8)
    features = rng.normal(2, 1, 6).astype(np.float32) if statistics else None
    return image, Prediction(mask, confidence, statistics=features)


def test_a_frame_is_described() -> None:
    mask = np.array([[0, 0, 0, 1], [255, 255, 255, 255]], np.uint8)
    confidence = np.array([[255, 255, 102, 0], [255, 255, 255, 255]], np.uint8)
    image = np.full((2, 4, 3), (255, 0, 0), np.uint8)
    found = describe(image, Prediction(mask, confidence), 3)
    assert found.keys() == {'image', 'confidence', 'classes'}
    assert found['confidence'] == pytest.approx([0.6, 0.5])
    assert np.square(found['classes']) == pytest.approx([0.75, 0.25, 0])
    brightness, red_green, blue_yellow, *spread, sharpness = found['image']
    assert (brightness, red_green, blue_yellow) == pytest.approx((0.299, 1, -0.5), abs=1e-3)
    assert spread == pytest.approx([0, 0, 0], abs=1e-6)
    assert sharpness == pytest.approx(np.log(1e-3))


def test_a_frame_without_any_label_is_described_too() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    prediction = Prediction(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    assert all(np.isfinite(v).all() for v in describe(image, prediction, 3).values())


def test_the_distance_is_counted_in_standard_deviations_of_the_source() -> None:
    frames = [noise_frame(seed, statistics=True) for seed in range(40)]
    source = collect(frames, 4)
    assert source.frames == 40
    assert {name: len(values) for name, values in source.mean.items()} == {
        'image': 7,
        'features': 6,
        'confidence': 2,
        'classes': 4,
    }
    assert source.mean['features'] == pytest.approx([2] * 6, abs=0.6)
    image, prediction = frames[0]
    shifted = np.array(source.mean['features']) + 3 * np.array(source.std['features'])
    far = Prediction(prediction.mask, prediction.confidence, statistics=shifted)
    monitor = DomainShiftMonitor(source, window=4)
    assert monitor.update(image, far)['features'] == pytest.approx(3, abs=1e-3)
    centre = Prediction(far.mask, far.confidence, statistics=np.array(source.mean['features']))
    found = [monitor.update(image, centre)['features'] for _ in range(5)]
    # The mean of all frames, then of about the last four: 3/2, 3/3, 3/4, then 3/4 of that ...
    assert found == pytest.approx([1.5, 1, 0.75, 0.5625, 0.421875], abs=1e-3)


def test_a_source_without_features_compares_the_rest() -> None:
    source = collect([noise_frame(seed) for seed in range(9)], 4)
    image, prediction = noise_frame(100, statistics=True)
    assert DomainShiftMonitor(source).update(image, prediction).keys() == source.mean.keys()
    rich = collect([noise_frame(seed, statistics=True) for seed in range(9)], 4)
    poor = DomainShiftMonitor(rich).update(*noise_frame(100))
    assert poor.keys() == {'image', 'confidence', 'classes'}


def test_source_statistics_survive_json() -> None:
    source = collect([noise_frame(seed, statistics=True) for seed in range(9)], 4)
    assert SourceStatistics.from_dict(json.loads(json.dumps(source.to_dict()))) == source


@pytest.mark.parametrize(
    'data',
    [
        None,
        [],
        {},
        {'frames': 3, 'mean': {'image': [1]}},
        {'frames': 3, 'mean': {'image': [1]}, 'std': {'image': []}},
        {'frames': 3, 'mean': {'image': ['dark']}, 'std': {'image': [1]}},
        {'frames': 3, 'mean': {'colour': [1]}, 'std': {'colour': [1]}},
        {'frames': 'many', 'mean': {'image': [1]}, 'std': {'image': [1]}},
        {'frames': 3, 'mean': {}, 'std': {}},
    ],
)
def test_damaged_source_statistics_are_refused(data: object) -> None:
    with pytest.raises(DgssError, match=r'manifest\.json.*export the bundle again'):
        SourceStatistics.from_dict(data, 'source in manifest.json')


def test_a_spread_needs_frames() -> None:
    with pytest.raises(DgssError, match='at least two'):
        collect([noise_frame(0)], 4)


def test_night_and_fog_lie_further_from_the_source_than_day(segmenter, source) -> None:
    found = {
        condition: [
            furthest(source, drive(segmenter, seed, condition)) for seed in range(3000, 3003)
        ]
        for condition in ('day', 'night', 'fog')
    }
    print({condition: np.round(values, 2).tolist() for condition, values in found.items()})
    for condition in ('night', 'fog'):
        assert auroc(found['day'], found[condition]) == 1
        assert np.median(found[condition]) > 1.5
    assert max(found['day']) < 1.32


def test_wrong_predictions_alone_increase_the_distance(segmenter, source) -> None:
    """The image is an ordinary one; only confidence and classes are compared."""
    outputs = {'confidence', 'classes'}
    alone = SourceStatistics(
        source.frames,
        {name: source.mean[name] for name in outputs},
        {name: source.std[name] for name in outputs},
    )
    right, wrong = [], []
    for seed in range(3000, 3003):
        frames = drive(segmenter, seed)
        right.append(furthest(alone, frames))
        turned = [predicted(segmenter, np.rot90(image, 2).copy())[1] for image, _ in frames]
        wrong.append(
            furthest(alone, [(image, p) for (image, _), p in zip(frames, turned, strict=True)])
        )
    assert auroc(right, wrong) == 1


def test_dusk_of_a_real_drive_lies_further_than_its_day(segmenter, shared: Path) -> None:
    def frames(split: str, step: int) -> list[Frame]:
        camvid = shared / 'data' / 'camvid'
        names = (camvid / 'splits' / f'{split}.txt').read_text().split()[::step]
        return [predicted(segmenter, read_image(camvid / f'images/{name}.jpg')) for name in names]

    source = collect(frames('day_train', 8), 19)
    day, dusk = frames('day_test', 6), frames('dusk', 3)
    found = [
        [furthest(source, part[start : start + 6]) for start in range(0, len(part) - 5, 6)]
        for part in (day, dusk)
    ]
    print('CamVid day_test and dusk:', [np.round(values, 2).tolist() for values in found])
    assert auroc(*found) == 1
    assert max(found[0]) < 1.5 < min(found[1])
