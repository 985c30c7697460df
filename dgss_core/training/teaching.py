"""How far a student's maps are from its teacher's, on the pixels that both see."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dgss_core.networks.losses.counts import Counts, share
from dgss_core.networks.losses.precision import in_float32
from dgss_core.networks.resize import resize, resize_part

GRID = 32
"""The most cells along a side of the maps that are correlated; their pairs are its 4th power."""


class Frame(NamedTuple):
    """What the maps of two networks cover, and where crops show their frame.

    `student` and `teacher`: (height, width) in pixels that their maps cover. `inside` (B,H,W):
    whether a pixel of the crop lies in the frame; None for all of the maps. `counts` are those of
    the step, as in `segmentation_loss`.
    """

    student: tuple[int, int]
    teacher: tuple[int, int]
    inside: Tensor | None
    counts: Counts

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values (B,h,w) over the frame; a cell counts by its share inside."""
        height, width = self.student
        values = values * self.weights(values)
        pixels_per_cell = height * width / values[0].numel()
        return share(values.sum() * pixels_per_cell, self.counts.inside)

    def weights(self, values: Tensor) -> Tensor:
        """The share inside the frame of each cell of values (B,h,w), in [0,1]."""
        if self.inside is None:
            return torch.ones_like(values, dtype=torch.float32)
        height, width = self.student
        down, right = height - self.inside.shape[1], width - self.inside.shape[2]
        inside = F.pad(self.inside.float(), (0, right, 0, down))
        return F.adaptive_avg_pool2d(inside, (values.shape[1], values.shape[2]))

    def on_student(self, maps: Tensor, like: Tensor) -> Tensor:
        """Maps of the teacher (B,C,h,w) on the cells of the student's map `like`."""
        part = [a / b for a, b in zip(self.student, self.teacher, strict=True)]
        return resize_part(maps, like.shape[-2:], part)


def divergence(
    scores: Tensor, target: Tensor, temperature: float, frame: Frame | None = None
) -> Tensor:
    """Mean Kullback-Leibler divergence of logits (B,C,h,w) from probabilities (B,C,H,W).

    The probabilities are resized to the logits. With `frame` the mean is that of the step, without
    the fill beyond the frame. The result is multiplied by the squared
    temperature, which keeps the scale of the gradients (Hinton et al., Distilling the Knowledge
    in a Neural Network, 2015).
    """
    size = scores.shape[-2:]
    target = resize(target, size) if frame is None else frame.on_student(target, scores)
    target = target.clamp_min(1e-8).log()
    # Logits and their log-probabilities have the same softmax at any temperature.
    wanted = (target / temperature).log_softmax(1)
    given = (scores.float() / temperature).log_softmax(1)
    pointwise = F.kl_div(given, wanted, reduction='none', log_target=True)
    found = pointwise.sum(1)
    return (found.mean() if frame is None else frame.mean(found)) * temperature**2


def angle(projected: Tensor, target: Tensor, frame: Frame | None = None) -> Tensor:
    """Mean of 1 - cosine between projected features (B,C,h,w) and the teacher's, resized to them.

    A learnt projection maps the student's features to the teacher's width (FitNets, Romero et
    al., ICLR 2015). Only directions are compared, because the two networks scale their features
    differently (Chen et al., Improved Feature Distillation via Projector Ensemble, NeurIPS 2022).
    `frame` is as in `divergence`.
    """
    target, size = target.float(), projected.shape[-2:]
    target = resize(target, size) if frame is None else frame.on_student(target, projected)
    found = 1 - F.cosine_similarity(projected.float(), target, dim=1)
    return found.mean() if frame is None else frame.mean(found)


def correlation(features: Tensor, target: Tensor, frame: Frame) -> Tensor:
    """Mean squared difference between the self-correlations of features (B,C,h,w) and (B,D,H,W).

    The self-correlation is the cosine of every pair of cells of one image. It needs no projection:
    the student learns which places the teacher sees as alike, not in which directions (pair-wise
    distillation, Liu et al., Structured Knowledge Distillation for Semantic Segmentation, CVPR
    2019, section 3.1). Maps of more than `GRID` cells a side are pooled. The mean is over the
    pairs inside the frame, then over the images of the step.
    """
    size = min(features.shape[-2], GRID), min(features.shape[-1], GRID)
    theirs = F.adaptive_avg_pool2d(frame.on_student(target.float(), features), size)
    ours = F.adaptive_avg_pool2d(features.float(), size)
    weights = frame.weights(ours[:, 0]).flatten(1)
    pairs = weights.unsqueeze(2) * weights.unsqueeze(1)
    distances = (cosines(ours) - cosines(theirs)).square() * pairs
    means = distances.sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1e-6)
    return share(means.sum(), frame.counts.images)


def cosines(features: Tensor) -> Tensor:
    """(B,N,N): the cosine of every pair of the N cells of features (B,C,h,w)."""
    directions = F.normalize(features.flatten(2), dim=1)
    with in_float32(directions):
        return directions.transpose(1, 2) @ directions
