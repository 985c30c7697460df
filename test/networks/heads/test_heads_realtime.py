"""Heads of the networks for real time, and their losses at boundaries."""

from __future__ import annotations

import torch
from head_contract import CLASSES, HeadContract

from dgss_core.networks.heads.bisenetv2 import BiSeNetV2Head
from dgss_core.networks.heads.dual_resolution import (
    DualResolutionHead,
    PIDHead,
    boundaries,
    boundary_loss,
)


class TestDualResolutionHead(HeadContract):
    levels = ((8, 16), (8, 8))
    stride = 8
    golden = (1.0766, 2.7717, 2.7365, 1.6987, 2.4646, -1.9502)

    def make(self):
        return DualResolutionHead(*self.levels, CLASSES, width=16, auxiliary=True)


class TestPIDHead(HeadContract):
    levels = ((8, 8, 16), (8, 8, 8))
    stride = 8
    golden = (0.5984, 3.4718, 0.482, 1.4275, 1.8456, 1.2532)

    def make(self):
        head = PIDHead(*self.levels, CLASSES, width=16, auxiliary=True)
        torch.nn.init.constant_(head.boundary[-1].bias, 2)  # Sure about some boundaries.
        return head

    def test_corners_of_the_scores_are_corners_of_the_image(self):
        head, features = self.head().eval(), self.features()
        scores, resized = head(features), head.at_size(features, (64, 96))
        for row in (0, -1):
            for column in (0, -1):
                corner = resized[..., row, column]
                assert torch.allclose(corner, scores[..., row, column], atol=1e-5)

    def test_statistics_move_once_a_step(self):
        head = self.head().train()
        head.loss(self.features(), torch.zeros(2, 64, 96, dtype=torch.long))
        norms = [m for m in head.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert {norm.num_batches_tracked.item() for norm in norms} == {1}

    def test_losses_of_the_paper(self):
        losses = self.head().loss(self.features(), torch.zeros(2, 64, 96, dtype=torch.long))
        assert set(losses) == {'ce', 'side', 'boundary', 'ce_at_boundary'}
        assert losses['boundary'] == 0  # One class has no boundary.


class TestBiSeNetV2Head(HeadContract):
    levels = ((4, 4, 4, 8, 8), (4, 8, 16, 32, 8))
    stride = 8
    golden = (-0.0208, -0.3935, 0.5395, 0.1925, 0.3475, 0.9454)

    def make(self):
        return BiSeNetV2Head(*self.levels, CLASSES, width=16, auxiliary=True)


class TestBoundaries:
    LABELS = torch.zeros(1, 8, 12, dtype=torch.long)
    LABELS[..., 6:] = 1

    def test_are_two_pixels_wide_on_each_side(self):
        found = boundaries(self.LABELS)
        assert found.shape == (1, 8, 12)
        assert found[0].sum(0).nonzero().flatten().tolist() == [4, 5, 6, 7]

    def test_a_sure_and_right_answer_costs_nothing_and_a_wrong_one_much(self):
        true = boundaries(self.LABELS).float() * 200 - 100
        assert boundary_loss(true, self.LABELS) < 1e-6
        assert boundary_loss(-true, self.LABELS) > 10

    def test_pixels_without_a_label_count_nothing(self):
        labels = self.LABELS.clone()
        labels[..., 8:] = 255
        logits = torch.zeros(1, 8, 12)
        loss = boundary_loss(logits, labels)
        logits[..., 8:] = 50
        assert boundary_loss(logits, labels) == loss > 0
