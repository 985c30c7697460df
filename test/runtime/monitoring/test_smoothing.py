"""Temporal smoothing: its arithmetic on single pixels, and its effect on whole drives.

`-s` prints the figures of docs/monitoring.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dgss_core.confusion import ConfusionMatrix
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.monitoring.smoothing import LONGEST_GAP_NS, TemporalSmoother
from dgss_core.runtime.segmenter import Prediction, Segmenter
from dgss_core.synthetic import StreetDrive, SyntheticFrame

PERIOD_NS = 50_000_000
SIZE = (96, 160)


@pytest.fixture
def scene() -> np.ndarray:
    """An image with texture everywhere."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    return cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def flat(class_id: int, confidence: int, size: tuple[int, int] = SIZE) -> Prediction:
    return Prediction(np.full(size, class_id, np.uint8), np.full(size, confidence, np.uint8))


def smoothed(
    image: np.ndarray, predictions: Sequence[Prediction], weight: float, motion: bool = False
) -> list[Prediction]:
    smoother = TemporalSmoother()
    return [
        smoother(image, prediction, index * PERIOD_NS, weight, motion)
        for index, prediction in enumerate(predictions)
    ]


@pytest.mark.parametrize('motion', [False, True])
def test_evidence_is_averaged_exponentially(scene: np.ndarray, motion: bool) -> None:
    frames = [flat(3, 200), flat(7, 100), flat(7, 240), flat(7, 240)]
    results = smoothed(scene, frames, 0.5, motion)
    # Of class 3: 200, 100, 50, 25. Of class 7: 0, 50, 145, 192.5.
    assert [set(result.mask.flat) for result in results] == [{3}, {3}, {7}, {7}]
    assert [set(result.confidence.flat) for result in results] == [{200}, {100}, {145}, {192}]
    assert all(result.mask.dtype == result.confidence.dtype == np.uint8 for result in results)


def test_a_third_class_replaces_the_weaker_one(scene: np.ndarray) -> None:
    frames = [flat(1, 250), flat(2, 40), *[flat(5, 250)] * 3]
    results = smoothed(scene, frames, 0.5)
    # Of class 1: 250, 125, 62. Of class 5, which replaces the 10 of class 2: 125 at once.
    assert [result.mask[0, 0] for result in results] == [1, 1, 5, 5, 5]
    assert results[2].confidence[0, 0] == 125


def test_without_a_weight_nothing_is_changed_or_stored(scene: np.ndarray) -> None:
    smoother = TemporalSmoother()
    smoother(scene, flat(1, 255), 0, 0.9)
    prediction = flat(2, 100)
    assert smoother(scene, prediction, PERIOD_NS, 0.0) is prediction
    assert smoother(scene, prediction, 2 * PERIOD_NS, 0.9) is prediction
    with pytest.raises(ValueError, match='weight'):
        smoother(scene, prediction, 3 * PERIOD_NS, 1.0)


@pytest.mark.parametrize('motion', [False, True])
@pytest.mark.parametrize('change', ['cut', 'gap', 'back', 'size', 'image size'])
def test_it_starts_again_after_a_break(scene: np.ndarray, change: str, motion: bool) -> None:
    smoother = TemporalSmoother()
    smoother(scene, flat(1, 255), 10 * PERIOD_NS, 0.9, motion)
    stamp_ns, size, image = 11 * PERIOD_NS, SIZE, scene
    if change == 'cut':
        image = scene[::-1, ::-1].copy()
    elif change == 'gap':
        stamp_ns = 10 * PERIOD_NS + LONGEST_GAP_NS + 1
    elif change == 'back':
        stamp_ns = 9 * PERIOD_NS
    elif change == 'size':
        size = (SIZE[0] // 2, SIZE[1])
    else:
        image, size = scene[:64].copy(), (64, SIZE[1])
    prediction = flat(2, 50, size)
    assert smoother(image, prediction, stamp_ns, 0.9, motion) is prediction
    # The next frame is averaged with the new scene.
    result = smoother(image, flat(3, 255, size), stamp_ns + PERIOD_NS, 0.9, motion)
    assert set(result.mask.flat) == {2}


def test_the_present_counts_in_regions_that_change(scene: np.ndarray) -> None:
    image = scene.copy()
    image[30:60, 40:80] = 255 - image[30:60, 40:80]
    smoother = TemporalSmoother()
    smoother(scene, flat(1, 255), 0, 0.9)
    mask = smoother(image, flat(2, 255), PERIOD_NS, 0.9).mask
    assert (mask[34:56, 44:76] == 2).mean() > 0.9
    assert set(mask[:25].flat) == {1}


def test_along_the_motion_an_object_keeps_its_class(scene: np.ndarray) -> None:
    """One wrong frame does not change the class of an object that moves three pixels a frame."""
    smoother = TemporalSmoother()
    for step in range(6):
        image = np.roll(scene, 3 * step, 1)
        prediction = flat(0, 255)
        prediction.mask[30:60, 40 + 3 * step : 80 + 3 * step] = 9
        if step == 5:
            prediction.mask[:] = 0
            prediction.confidence[:] = 150
        result = smoother(image, prediction, step * PERIOD_NS, 0.8, motion=True)
    inside = np.zeros(SIZE, bool)
    inside[30:60, 55:95] = True
    # Left of column 20 the image wraps around.
    assert ((result.mask == 9) == inside)[:, 20:].mean() > 0.98


def test_a_region_that_comes_into_view_has_no_past(scene: np.ndarray) -> None:
    """The image moves left by eight pixels, so its right margin is new."""
    wide = np.concatenate([scene, scene[:, ::-1]], 1)
    smoother = TemporalSmoother()
    smoother(wide[:, :160].copy(), flat(1, 250), 0, 0.9, motion=True)
    result = smoother(wide[:, 8:168].copy(), flat(1, 250), PERIOD_NS, 0.9, motion=True)
    assert result.confidence[10:-10, -6:].mean() > 200
    assert set(result.mask.flat) == {1}


@pytest.fixture(scope='module')
def drives() -> list[tuple[list[SyntheticFrame], list[Prediction]]]:
    """Two drives at 8 m/s and 10 Hz, with the predictions of the embedded bundle."""
    segmenter, drives = Segmenter(open_bundle()), []
    width, height = segmenter.bundle.width, segmenter.bundle.height
    for seed, condition in [(501, 'rain'), (504, 'snow')]:
        drive = StreetDrive(seed, condition, width=width, height=height)
        frames = [drive.frame(index) for index in range(100, 108)]
        drives.append((frames, [segmenter(frame.image) for frame in frames]))
    return drives


def change_and_miou(
    frames: Sequence[SyntheticFrame], predictions: Sequence[Prediction]
) -> tuple[float, float]:
    """Share of the points of the world whose class changes from frame to frame, and mIoU.

    Points are followed by the optical flow; points with other labels at its end are ignored.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in frames]
    y, x = np.indices(greys[0].shape, np.float32)
    changed = followed = 0
    matrix = ConfusionMatrix(19)
    for index, (frame, prediction) in enumerate(zip(frames, predictions, strict=True)):
        matrix.add(prediction.mask, frame.labels)
        if not index:
            continue
        way = flow.calc(greys[index], greys[index - 1], None)
        labels, mask = (
            cv2.remap(a, x + way[..., 0], y + way[..., 1], cv2.INTER_NEAREST, borderValue=255)
            for a in (frames[index - 1].labels, predictions[index - 1].mask)
        )
        seen = (labels == frame.labels) & (labels != 255)
        followed += seen.sum()
        changed += (seen & (mask != prediction.mask)).sum()
    return changed / followed, matrix.miou


def test_on_a_drive_masks_flicker_less_and_are_as_accurate(drives) -> None:
    for frames, predictions in drives:
        change, miou = change_and_miou(frames, predictions)
        results = {}
        for motion in (False, True):
            smoother = TemporalSmoother()
            results[motion] = change_and_miou(
                frames,
                [
                    smoother(frame.image, prediction, 2 * index * PERIOD_NS, 0.7, motion)
                    for index, (frame, prediction) in enumerate(
                        zip(frames, predictions, strict=True)
                    )
                ],
            )
        print(f'unsmoothed {change:.4f} {miou:.3f}, plain and along the motion {results}')
        assert results[False][0] < 0.93 * change
        assert results[True][0] < 0.85 * change
        assert results[True][0] < 0.93 * results[False][0], 'at 8 m/s and 10 Hz motion matters'
        assert min(found for _, found in results.values()) > miou - 0.005


@pytest.mark.parametrize('motion', [False, True])
def test_the_uncertainty_is_that_of_the_smoothed_answer(scene: np.ndarray, motion: bool) -> None:
    frames = [
        replace(flat(class_id, 200), uncertainty=np.full(SIZE, unsure, np.uint8))
        for class_id, unsure in ((3, 10), (7, 250), (7, 250))
    ]
    results = smoothed(scene, frames, 0.5, motion)
    assert [set(result.uncertainty.flat) for result in results] == [{10}, {130}, {190}]
    assert all(result.uncertainty.dtype == np.uint8 for result in results)
