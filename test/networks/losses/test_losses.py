"""Losses against slow, simple versions."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from dgss_core.networks.losses.matching import match, pairwise_cost, targets_of
from dgss_core.networks.losses.points import sample_points, sample_shared_points, unsure_points
from dgss_core.networks.losses.segmentation import segmentation_loss
from dgss_core.networks.losses.set_criterion import SetCriterion, dice_loss


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    scores, labels = torch.randn(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5))
    labels[0, 0] = 255
    by_hand = [
        -scores[b, :, y, x].log_softmax(0)[labels[b, y, x]]
        for b, y, x in itertools.product(range(2), range(3), range(5))
        if labels[b, y, x] != 255
    ]
    assert segmentation_loss(scores, labels).item() == pytest.approx(
        torch.stack(by_hand).mean().item(), abs=1e-6
    )


def test_label_smoothing_is_torchs():
    scores, labels = torch.randn(2, 4, 6, 6), torch.randint(0, 4, (2, 6, 6))
    labels[1, :3] = 255
    theirs = F.cross_entropy(scores, labels, ignore_index=255, label_smoothing=0.1)
    ours = segmentation_loss(scores, labels, label_smoothing=0.1)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_coarse_scores_are_resized_to_the_labels():
    scores = torch.zeros(1, 2, 2, 2)
    scores[0, 1, :, 1] = 20.0
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]).repeat(8, 1)[None]
    assert segmentation_loss(scores, labels) < 1.5
    assert segmentation_loss(scores, labels) < segmentation_loss(scores, 1 - labels) / 3


def test_no_label_gives_zero_and_a_zero_gradient():
    scores = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(scores, torch.full((1, 8, 8), 255))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad.abs().max() == 0


def test_targets_are_the_classes_present():
    labels = torch.tensor([[[3, 3, 255], [0, 3, 255]], [[255, 255, 255], [255, 255, 255]]])
    first, second = targets_of(labels)
    assert first.classes.tolist() == [0, 3]
    assert first.masks.tolist() == [[[0, 0, 0], [1, 0, 0]], [[1, 1, 0], [0, 1, 0]]]
    assert second.masks.shape == (0, 2, 3)


def test_points_hit_pixel_centres():
    maps = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    centre = torch.tensor([(2 + 0.5) / 4, (1 + 0.5) / 3])
    expected = maps[:, 1, 2]
    assert torch.allclose(sample_points(maps, centre.expand(2, 1, 2))[:, 0], expected)
    assert torch.allclose(sample_shared_points(maps, centre[None])[:, 0], expected)


def test_unsure_points_gather_at_the_border_of_a_mask():
    x = torch.linspace(-8, 8, 64)
    logits = x.expand(3, 64, 64)
    torch.manual_seed(0)
    points = unsure_points(logits, 40, oversample=3.0, share=0.75)
    assert points.shape == (3, 40, 2)
    from_border = (points[..., 0] - 0.5).abs()
    # 30 of 120 uniform points lie within an eighth of the width from the border.
    assert from_border[:, :30].max() < 0.2
    assert from_border[:, 30:].max() > 0.3
    everywhere = unsure_points(logits, 40, oversample=3.0, share=0.0)
    assert (everywhere[..., 0] - 0.5).abs().mean() == pytest.approx(0.25, abs=0.05)


def test_matching_is_the_cheapest_of_all_assignments():
    torch.manual_seed(2)
    labels = torch.tensor([[0, 0, 1, 1], [0, 2, 2, 1]]).repeat_interleave(4, 0)[None]
    target = targets_of(labels.repeat_interleave(4, 2))[0]
    classes, masks = torch.randn(4, 6), torch.randn(4, 8, 16)
    weights = (2.0, 5.0, 5.0)
    torch.manual_seed(3)
    query, entry = match(classes, masks, target, 50, weights)
    torch.manual_seed(3)
    places = torch.rand(1, 50, 2)[0]
    logits = sample_shared_points(masks, places)
    truth = sample_shared_points(target.masks, places)
    cost = pairwise_cost(logits, truth, weights[1:]) - 2 * classes.softmax(-1)[:, target.classes]
    best = min(
        itertools.permutations(range(4), 3),
        key=lambda rows: sum(cost[q, e] for e, q in enumerate(rows)),
    )
    assert sorted(zip(entry.tolist(), query.tolist(), strict=True)) == list(enumerate(best))


def test_pairwise_cost_is_cross_entropy_plus_dice():
    logits, truth = torch.randn(3, 20), (torch.rand(2, 20) > 0.5).float()
    cost = pairwise_cost(logits, truth, (5.0, 2.0))
    for n, m in itertools.product(range(3), range(2)):
        entropy = F.binary_cross_entropy_with_logits(logits[n], truth[m])
        expected = 5 * entropy + 2 * dice_loss(logits[n : n + 1], truth[m : m + 1])[0]
        assert cost[n, m].item() == pytest.approx(expected.item(), abs=1e-5)


def test_dice_of_a_perfect_mask_is_zero():
    truth = (torch.rand(2, 100) > 0.5).float()
    assert dice_loss((truth - 0.5) * 100, truth).max() < 1e-5
    opposite = dice_loss((0.5 - truth) * 100, truth)
    assert torch.allclose(opposite, 1 - 1 / torch.full((2,), 101.0), atol=1e-5)


def perfect(labels: torch.Tensor, queries: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A correct prediction with high confidence."""
    scores = torch.full((len(labels), queries, classes + 1), -30.0)
    scores[..., classes] = 30.0
    masks = torch.full((len(labels), queries, *labels.shape[1:]), -30.0)
    for b, target in enumerate(targets_of(labels)):
        for q, (c, mask) in enumerate(zip(target.classes, target.masks, strict=True)):
            scores[b, q, classes], scores[b, q, c] = -30.0, 30.0
            masks[b, q] = (mask - 0.5) * 60
    return scores, masks


def blocks() -> torch.Tensor:
    return (
        torch.tensor([[[0, 1], [2, 3]], [[1, 1], [255, 2]]])
        .repeat_interleave(16, 1)
        .repeat_interleave(16, 2)
    )


def test_a_perfect_prediction_costs_nothing():
    labels = blocks()
    scores, masks = perfect(labels, 6, 4)
    criterion = SetCriterion(points=512, unsure=0.0)
    right = criterion([(scores, masks)], labels)
    # Bilinear samples of a mask and of its logits differ only at its borders.
    assert right['class_0'] < 1e-5
    assert right['mask_0'] < 1.5
    assert right['dice_0'] < 0.2
    assert criterion([(scores[..., [1, 2, 3, 0, 4]], masks)], labels)['class_0'] > 10
    inverted = criterion([(scores, -masks)], labels)
    assert inverted['mask_0'] > 50


def test_every_prediction_has_losses_and_weights_apply():
    torch.manual_seed(0)
    labels = blocks()
    predictions = [(torch.randn(2, 6, 5), torch.randn(2, 6, 8, 8)) for _ in range(3)]
    torch.manual_seed(1)
    plain = SetCriterion(weights=(1.0, 1.0, 1.0), points=64)(predictions, labels)
    torch.manual_seed(1)
    weighted = SetCriterion(weights=(2.0, 3.0, 5.0), points=64)(predictions, labels)
    assert set(plain) == {f'{kind}_{i}' for kind in ('class', 'mask', 'dice') for i in range(3)}
    for kind, weight in (('class', 2), ('mask', 3), ('dice', 5)):
        assert weighted[f'{kind}_1'].item() == pytest.approx(weight * plain[f'{kind}_1'].item())


def test_last_first_changes_the_draws_only():
    labels = blocks()
    predictions = [(torch.randn(2, 6, 5), torch.randn(2, 6, 8, 8))] * 2
    torch.manual_seed(1)
    forwards = SetCriterion(points=64)(predictions, labels)
    torch.manual_seed(1)
    backwards = SetCriterion(points=64, last_first=True)(predictions, labels)
    assert forwards['mask_0'] == backwards['mask_1'] != forwards['mask_1'] == backwards['mask_0']


def test_no_object_counts_a_tenth():
    labels = torch.full((1, 8, 8), 255)
    classes = torch.randn(1, 6, 5)
    loss = SetCriterion(points=16)([(classes, torch.randn(1, 6, 4, 4))], labels)
    expected = -classes.log_softmax(-1)[0, :, 4].mean()
    assert loss['class_0'].item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert loss['mask_0'] == loss['dice_0'] == 0
    one = labels.clone()
    one[0, :4] = 2
    torch.manual_seed(0)
    criterion = SetCriterion(points=16)
    masks = torch.randn(1, 6, 4, 4)
    torch.manual_seed(0)
    ((query, _),) = criterion.matches(classes, masks, targets_of(one))
    torch.manual_seed(0)
    loss = criterion([(classes, masks)], one)['class_0'].item()
    log = classes.log_softmax(-1)[0]
    rest = [q for q in range(6) if q != query.item()]
    expected = -(log[query.item(), 2] + 0.1 * log[rest, 4].sum()) / (1 + 0.5)
    assert loss == pytest.approx(2 * expected.item(), rel=1e-5)
    assert math.isfinite(loss)
