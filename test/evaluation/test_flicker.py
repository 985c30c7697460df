"""Flicker on a scene that moves by a known number of pixels."""

import cv2
import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.evaluation.flicker import (
    FlickerCounts,
    FlickerMeter,
    Trace,
    backward_flow,
    compare,
    flicker_scores,
    total,
)
from dgss_core.synthetic import StreetDrive

STEP = 3
"""Pixels per frame, at 320 pixels width."""
HEIGHT, WIDTH = 160, 320


@pytest.fixture(scope='module')
def scene():
    """A textured wall, and a mask of vertical stripes on it, wider than the image."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 4, 200, 3)).astype(np.uint8)
    wall = cv2.resize(coarse, (800, HEIGHT), interpolation=cv2.INTER_CUBIC)
    stripes = np.repeat(np.arange(20, dtype=np.uint8), 40)
    return wall, np.tile(stripes, (HEIGHT, 1))


def view(picture, index):
    start = STEP * index
    return np.ascontiguousarray(picture[:, start : start + WIDTH])


def measure(images, masks, **options):
    meter = FlickerMeter(**options)
    return [meter.add(image, mask) for image, mask in zip(images, masks, strict=True)]


def test_a_mask_that_moves_with_the_scene_does_not_flicker(scene):
    wall, stripes = scene
    frames = measure([view(wall, i) for i in range(12)], [view(stripes, i) for i in range(12)])
    sums = total(frames)
    assert {stride: counts.pairs for stride, counts in sums.items()} == {1: 11, 2: 10, 5: 7, 10: 2}
    for stride, counts in sums.items():
        assert counts.value < 0.002
        # What comes into the image has no past.
        assert counts.pixels / counts.pairs / (HEIGHT * WIDTH) < 1 - 0.8 * STEP * stride / WIDTH
    assert not frames[0]
    assert set(frames[4]) == {1, 2}


def test_a_mask_that_stays_while_the_scene_moves_flickers(scene):
    """Of 40 pixels of a stripe, the last 3 belong to its neighbour; one of them is forgiven."""
    wall, stripes = scene
    sums = total(measure([view(wall, i) for i in range(6)], [view(stripes, 0)] * 6))
    for stride, expected in ((1, STEP / 40), (5, 5 * STEP / 40)):
        assert expected - 1.5 / 40 < sums[stride].value < expected + 0.5 / 40


@pytest.mark.parametrize('scale', [1, 3])
def test_the_share_that_flips_is_found_at_any_size_of_the_mask(scene, scale):
    wall, stripes = scene
    masks = [np.kron(view(stripes, i), np.ones((scale, scale), np.uint8)) for i in range(8)]
    for mask in masks[1::2]:
        mask[: 40 * scale] = 99
    images = [view(wall, i) for i in range(8)]
    sums = total(measure(images, masks, strides=(1, 2)))
    assert sums[1].value == pytest.approx(0.25, abs=0.01)
    assert sums[2].value < 0.002


def test_a_thin_object_that_comes_and_goes_is_counted_each_time(scene):
    wall, stripes = scene
    images = [view(wall, 0)] * 3
    masks = [view(stripes, 0).copy() for _ in images]
    masks[1][:, 150:152] = 99
    came, went = (frame[1].changed for frame in measure(images, masks)[1:])
    assert came == went == 2 * HEIGHT


def test_a_cut_is_skipped():
    drives = [StreetDrive(seed, width=320, height=180) for seed in (1, 2)]
    frames = [drive.frame(index) for drive in drives for index in range(2)]
    images, masks = [frame.image for frame in frames], [frame.labels for frame in frames]
    found = measure(images, masks, strides=(1, 2))
    assert (found[1][1].pairs, found[1][1].skipped) == (1, 0)
    assert (found[2][1].pairs, found[2][1].skipped) == (0, 1)
    assert (found[3][1].pairs, found[3][2].skipped) == (1, 1)


def test_hidden_pixels_are_left_out(scene):
    """A board moves 16 pixels over the wall: what it uncovers has no past."""
    wall, stripes = scene
    images, masks = [], []
    for index in range(2):
        images.append(view(wall, 0).copy())
        masks.append(view(stripes, 0).copy())
        left = 100 + 16 * index
        images[index][40:120, left : left + 60] = view(wall, 60)[40:120, :60]
        masks[index][40:120, left : left + 60] = 50
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    flow, valid = backward_flow(grey[1], grey[0])
    assert valid[50:110, 104:112].mean() < 0.4
    trace = Trace.start(HEIGHT, WIDTH).back(flow, np.ones_like(valid))
    unchecked = compare(masks[1], masks[0], trace).changed
    assert measure(images, masks)[1][1].changed < 0.6 * unchecked


def test_a_trace_follows_the_flow_through_all_frames():
    """Twice two pixels to the right; a pixel hidden in the frame between is lost."""
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 2
    valid = np.ones((HEIGHT, WIDTH), bool)
    hidden = valid.copy()
    hidden[5, 12] = False
    trace = Trace.start(HEIGHT, WIDTH).back(flow, valid).back(flow, hidden)
    assert (trace.x[5, 10], trace.y[5, 10]) == (14, 5)
    assert np.argwhere(~trace.seen[:, :-2]).tolist() == [[5, 10]]
    past = np.zeros((HEIGHT, WIDTH), np.uint8)
    past[5, 14:] = 7  # Of row 5, [10:] shows it again, and only 10 was hidden.
    now = np.zeros_like(past)
    now[5, 10:] = 9
    assert compare(now, past, trace).changed == WIDTH - 10 - 1 - 2


def test_pixels_without_a_class_in_both_are_not_counted(scene):
    wall, stripes = scene
    masks = [view(stripes, 0).copy() for _ in range(2)]
    masks[0][:40] = masks[1][:80] = 255
    counts = measure([view(wall, 0)] * 2, masks)[1][1]
    assert counts.pixels == 120 * WIDTH
    assert counts.value == pytest.approx(1 / 3, abs=0.01)


def test_scores_are_by_stride_and_null_without_pairs():
    sums = total(
        [{1: FlickerCounts(1, 8, 1)}, {1: FlickerCounts(3, 8, 1), 2: FlickerCounts(0, 0, 0, 1)}]
    )
    assert flicker_scores(sums) == {
        '1': {'value': 0.25, 'pairs': 2, 'skipped': 0, 'pixels': 16},
        '2': {'value': None, 'pairs': 0, 'skipped': 1, 'pixels': 0},
    }
    assert flicker_scores({}) is None


def test_frames_of_another_size_and_bad_strides_are_refused(scene):
    wall, stripes = scene
    meter = FlickerMeter()
    meter.add(view(wall, 0), view(stripes, 0))
    with pytest.raises(DgssError, match='differ in size'):
        meter.add(view(wall, 0), view(stripes, 0)[:80])
    for strides in ((), (0, 1)):
        with pytest.raises(ValueError, match='strides are'):
            FlickerMeter(strides)


def test_a_missing_frame_leaves_the_strides_of_the_others_as_they_are(scene):
    """Every second frame of a mask that stays has the flicker of stride 2, none of stride 1."""
    wall, stripes = scene
    whole = total(measure([view(wall, i) for i in range(12)], [view(stripes, 0)] * 12))
    meter = FlickerMeter()
    sums = total(meter.add(view(wall, i), view(stripes, 0), step=2) for i in range(0, 12, 2))
    assert {stride: counts.pairs for stride, counts in sums.items()} == {2: 5, 10: 1}
    assert sums[2].value == pytest.approx(whole[2].value, rel=0.1)
