"""Refinement of pseudo-labels: components, prompts, overlap removal."""

import numpy as np
import pytest
import torch

from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.training.pseudo_labels import (
    best_masks,
    class_masks,
    components,
    random_points,
    refine,
    without_overlaps,
)


def test_clouds_helpers(shared):
    path = shared / 'parity' / 'clouds_sam_helpers.pt'
    r = torch.load(path, weights_only=True)
    labels, theirs = r['inputs']['pseudo'].numpy(), r['outputs']
    masks = class_masks(labels)
    assert list(masks) == theirs['labels'].tolist()
    assert np.array_equal(np.stack(list(masks.values())), theirs['masks'].numpy() > 0)
    threshold = int(r['note'].split('threshold ')[1].split(' ')[0])
    seed = int(r['note'].split('numpy seed ')[1].split(' ')[0])
    parts = {str(c): components(mask, threshold) for c, mask in masks.items()}
    assert {c: len(found) for c, found in parts.items()} == theirs['counts']
    areas = {c: int(found.sum()) for c, found in parts.items()}
    assert areas == {c: int(area) for c, area in theirs['components'].items()}
    found = np.concatenate(list(parts.values()))
    points = random_points(found, theirs['coords'].shape[1], np.random.RandomState(seed))
    assert np.array_equal(points, theirs['coords'].numpy())
    best = best_masks(r['inputs']['masks3'].numpy(), r['inputs']['iou'].numpy())
    assert np.array_equal(best, theirs['best'].numpy())
    assert np.array_equal(without_overlaps(best), theirs['clean'].numpy())


def scene() -> np.ndarray:
    """Two cars of 40 pixels, a road of 80, a small sign of 4 and some void."""
    labels = np.full((20, 20), 255)
    labels[0:4, 0:10] = 13
    labels[4:8, 10:20] = 13
    labels[12:16, 0:20] = 0
    labels[18:20, 0:2] = 7
    return labels


def test_corners_do_not_connect():
    assert [int(part.sum()) for part in components(scene() == 13, 10)] == [40, 40]
    assert components(scene() == 13, 40).shape == (0, 20, 20)


def test_void_and_unknown_ids_have_no_mask():
    labels = scene()
    labels[10, 10] = 19
    assert list(class_masks(labels)) == [0, 7, 13]


def test_points_lie_inside_and_differ():
    parts = components(scene() == 13, 10)
    points = random_points(parts, 5, np.random.RandomState(0)).astype(int)
    for part, chosen in zip(parts, points, strict=True):
        assert len({tuple(p) for p in chosen}) == 5
        assert all(part[y, x] for x, y in chosen)


def test_refinement_grows_masks_and_drops_overlaps():
    labels = scene()
    asked = []

    def segment(points):
        asked.append(points)
        masks = np.zeros((len(points), 2, 20, 20), bool)
        # The road's mask grows by two rows, into a row that the second car's mask covers too.
        masks[0, 1, 10:16] = True
        masks[1, 1, 0:4, 0:10] = True
        masks[2, 1, 4:11, 10:20] = True
        return masks, np.tile(np.array([0.1, 0.9]), (len(points), 1))

    target = refine(labels, segment, np.random.RandomState(0), min_area=10)
    assert asked[0].shape == (3, 5, 2)
    assert target.classes.tolist() == [0, 13]
    road, cars = target.masks.bool().numpy()
    assert not (road & cars).any()
    assert not road[10, 10:].any()
    assert road[10, :10].all()
    assert road[11].all()
    assert cars.sum() == 40 + 60
    predictions = [(torch.randn(1, 6, 20), torch.randn(1, 6, 10, 10))]
    losses = SetCriterion(points=32).on_targets(predictions, [target.to('cpu')])
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize('labels', [scene(), np.full((20, 20), 255)])
def test_without_large_components_the_masks_are_unchanged(labels):
    def segment(points):
        raise AssertionError('there is nothing to ask for')

    target = refine(labels, segment, np.random.RandomState(0))
    assert target.classes.tolist() == list(class_masks(labels))
    assert target.masks.shape == (len(target.classes), 20, 20)
    for c, mask in zip(target.classes, target.masks, strict=True):
        assert np.array_equal(mask.numpy() > 0, labels == c.item())
