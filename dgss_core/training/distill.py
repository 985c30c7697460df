"""Distillation: a small student learns from a large teacher, on frames that need no labels.

    frame -> teacher, frozen -> features, probabilities
    frame -> student         -> features, probabilities -> losses against the teacher's

This gives a real-time network the robustness of a foundation encoder. Both see the same crop in
the same colours (consistent teaching, Beyer et al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.losses.counts import Counts, share
from dgss_core.networks.resize import resize, resize_part
from dgss_core.networks.systems import SegmentationModel
from dgss_core.networks.systems.model import image_size
from dgss_core.training.objective import Objective


@dataclass
class DistillationConfig:
    """The losses of a student against its teacher, and their weights.

    Attributes:
        teacher: checkpoint of the teacher
        temperature: temperature of the probabilities; above 1 gives unlikely classes more weight
        probabilities: weight of the divergence from the teacher's probabilities
        features: weight of the cosine distance to the teacher's last features
        labels: weight of the loss on labelled pixels, if a source has labels
    """

    teacher: Path
    temperature: float = 1.0
    probabilities: float = 1.0
    features: float = 1.0
    labels: float = 1.0

    def __post_init__(self) -> None:
        weights = self.probabilities, self.features, self.labels
        if self.temperature <= 0 or min(weights) < 0:
            raise DgssError(
                f'A student cannot learn at temperature {self.temperature} with weights '
                f'{weights}; give a temperature above 0 and weights of at least 0.'
            )


class Distillation(Objective):
    """The losses of a student against its teacher, and against labels if there are any.

    Raises DgssError if the student's head does not classify pixels, or if the teacher has another
    label set.
    """

    def __init__(self, model: SegmentationModel, config: DistillationConfig, **given: Any) -> None:
        super().__init__(model, **given)
        teacher = load_checkpoint(config.teacher).requires_grad_(False)
        if teacher.label_set.names != model.label_set.names:
            raise DgssError(
                f'{config.teacher} knows the labels {teacher.label_set.name!r} and its student '
                f'{model.label_set.name!r}; give both the same.'
            )
        if not isinstance(model.head, PixelHead):
            raise DgssError(
                f'A student whose head is {type(model.head).__name__} cannot be distilled into; '
                'choose a system whose head classifies pixels, dgss-mobilenetv2 for example.'
            )
        self.config = config
        # nn.Module registers module attributes; inside a tuple the teacher stays out of the saved
        # state, the average and FSDP.
        self.teacher = (teacher,)
        widths = model.encoder.channels[-1], teacher.encoder.channels[-1]
        self.projection = nn.Conv2d(*widths, 1)

    def losses(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        inside: Tensor | None,
        counts: Counts,
    ) -> dict[str, Tensor]:
        head, config = self.model.head, self.config
        assert isinstance(head, PixelHead)
        theirs, target = self.ask(images)
        with self.mixed(labels, seed):
            features, scores = self.model.features_and_scores(images)
        compare = self.merged or head.score_loss
        # Each network pads images by its own patches: its maps cover an area of their own.
        size, teacher = image_size(images), self.teacher[0]
        last = self.model.encoder.covered(size, -1)
        seen = Frame(self.model.covered(size), teacher.covered(size), inside, counts)
        deep = Frame(last, teacher.encoder.covered(size, -1), inside, counts)
        distance = divergence(scores, target, config.temperature, seen)
        difference = angle(self.projection(features[-1]), theirs, deep)
        labels = self.model.extended(labels, size)
        return {
            'probabilities': config.probabilities * distance,
            'features': config.features * difference,
            'labels': config.labels * compare(scores, labels, counts),
        }

    @torch.no_grad()
    def ask(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's last features (B,C,h,w); its probabilities at the stride of its head."""
        teacher = self.teacher[0].to(images.device)
        features, scores = teacher.features_and_scores(images)
        return features[-1], teacher.head.to_probabilities(scores.float())


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
        if self.inside is not None:
            down, right = height - self.inside.shape[1], width - self.inside.shape[2]
            inside = F.pad(self.inside.float(), (0, right, 0, down))
            values = values * F.adaptive_avg_pool2d(inside, (values.shape[1], values.shape[2]))
        pixels_per_cell = height * width / values[0].numel()
        return share(values.sum() * pixels_per_cell, self.counts.inside)

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
