"""The alignment of queries with class prototypes, against slow, simple versions."""

import pytest
import torch
import torch.nn.functional as F

from dgss_core.networks.losses.alignment import (
    advantages,
    alignment_loss,
    class_planes,
    class_shares,
    update_prototypes,
)
from dgss_core.networks.losses.counts import Counts

CLASSES = 3


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_shares_of_classes_in_cells():
    labels = torch.tensor([[[0, 0, 2, 255], [0, 1, 255, 255]]])
    shares = class_shares(class_planes(labels, CLASSES), (1, 2))
    assert shares[0, :, 0].T.tolist() == [[0.75, 0.25, 0], [0, 0, 0.25]]


def test_prototypes_are_averaged_directions():
    patches = torch.randn(2, 4, 3, 3)
    labels = torch.tensor([[0, 0, 1], [255, 1, 1], [0, 255, 255]]).expand(2, -1, -1)
    shares = class_shares(class_planes(labels, CLASSES), (3, 3))
    prototypes = torch.zeros(CLASSES, 4)
    update_prototypes(prototypes, patches, shares)
    for index in (0, 1):
        chosen = patches.movedim(1, -1)[labels == index]
        torch.testing.assert_close(prototypes[index], F.normalize(chosen.sum(0), dim=0))
    assert not prototypes[2].any(), 'a class that was not seen has none'
    before = prototypes.clone()
    update_prototypes(prototypes, -patches, shares)
    closer = (prototypes * before).sum(1)[:2]
    assert (closer > 0.9).all(), 'the average is slow'


def by_hand(queries, masks, shares, prototypes):
    """The loss of one image, by loops."""
    total, present = 0.0, 0
    for index in range(CLASSES):
        region = shares[index]
        if not region.any():
            continue
        known = shares.sum(0)
        rewards = []
        for mask in masks.sigmoid():
            overlap = (mask * region).sum()
            rewards.append(overlap / ((mask * known).sum() + region.sum() - overlap))
        rewards = torch.stack(rewards)
        group = (rewards - rewards.mean()) / rewards.std(correction=0)
        cosines = F.cosine_similarity(queries, prototypes[index][None], dim=1)
        total, present = total - (group * cosines).mean(), present + 1
    return total / present


def sample(count=1):
    labels = torch.randint(0, 2, (count, 8, 8))
    labels[:, 0] = 255
    shares = class_shares(class_planes(labels, CLASSES), (4, 4))
    prototypes = F.normalize(torch.randn(CLASSES, 6), dim=1)
    return torch.randn(count, 5, 6), torch.randn(count, 5, 4, 4), shares, prototypes, labels


def test_the_loss_is_that_by_hand():
    queries, masks, shares, prototypes, _ = sample()
    found = alignment_loss(queries, masks, shares, prototypes)
    expected = by_hand(queries[0], masks[0], shares[0], prototypes)
    torch.testing.assert_close(found, expected)


def test_a_step_turns_the_best_query_to_the_prototype_and_the_worst_away():
    queries, masks, shares, prototypes, _ = sample()
    queries.requires_grad_()
    masks.requires_grad_()
    group = advantages(masks.detach(), shares)[0, :, 0]
    torch.testing.assert_close(group.mean(), torch.zeros(()), atol=1e-5, rtol=0)
    only_first = shares * torch.tensor([1.0, 0, 0])[:, None, None]
    alignment_loss(queries, masks, only_first, prototypes).backward()
    assert masks.grad is None, 'masks give rewards, which are not learnt'
    moved = F.cosine_similarity(queries - 0.1 * queries.grad, prototypes[:1], dim=2)[0]
    before = F.cosine_similarity(queries, prototypes[:1], dim=2)[0]
    known = advantages(masks.detach(), only_first)[0, :, 0]
    assert moved[known.argmax()] > before[known.argmax()]
    assert moved[known.argmin()] < before[known.argmin()]


def test_equal_masks_and_empty_images_give_no_loss():
    queries, masks, shares, prototypes, _ = sample()
    equal = masks[:, :1].expand_as(masks)
    assert alignment_loss(queries, equal, shares, prototypes).abs() < 1e-3
    assert alignment_loss(queries, masks, torch.zeros_like(shares), prototypes) == 0


def test_the_loss_of_a_step_does_not_depend_on_how_it_is_cut():
    queries, masks, shares, prototypes, labels = sample(4)
    whole = alignment_loss(queries, masks, shares, prototypes, Counts.of(labels))
    counts = Counts.of(labels).mean(2)
    halves = [
        alignment_loss(queries[part], masks[part], shares[part], prototypes, counts)
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(sum(halves) / 2, whole)


def test_autocast_rounds_nothing():
    queries, masks, shares, prototypes, _ = sample(2)
    patches, updated = torch.randn(2, 6, 4, 4), prototypes.clone()
    exact = alignment_loss(queries, masks, shares, prototypes)
    update_prototypes(updated, patches, shares)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(alignment_loss(queries, masks, shares, prototypes), exact)
        update_prototypes(prototypes, patches, shares)
    assert torch.equal(prototypes, updated)
