"""Distillation: a small student learns from a large teacher, on frames that need no labels.

    frame -> teacher, frozen -> features, probabilities
    frame -> student         -> features, probabilities -> losses against the teacher's

This gives a real-time network the robustness of a foundation encoder. Both see the same crop in
the same colours (consistent teaching, Beyer et al., CVPR 2022). Without the losses on answers only
the features are matched: the first of two stages, after which the student's encoder is frozen
and its head trained (GKD, Lv et al., CVPR 2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.labels import namesakes
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.systems import SegmentationModel
from dgss_core.networks.systems.model import image_size
from dgss_core.training.objective import Objective
from dgss_core.training.teaching import Frame, angle, correlation, divergence


@dataclass
class DistillationConfig:
    """The losses of a student against its teacher, and their weights.

    If `probabilities` and `labels` are 0, the student's head is not trained.

    Attributes:
        teacher: checkpoint of the teacher
        temperature: temperature of the probabilities; above 1 gives unlikely classes more weight
        probabilities: weight of the divergence from the teacher's probabilities
        features: weight of the cosine distance to the teacher's last features
        correlation: weight of the distance to the self-correlation of the teacher's last features
        labels: weight of the loss on labelled pixels, if a source has labels
    """

    teacher: Path
    temperature: float = 1.0
    probabilities: float = 1.0
    features: float = 1.0
    correlation: float = 0.0
    labels: float = 1.0

    def __post_init__(self) -> None:
        weights = self.probabilities, self.features, self.correlation, self.labels
        if self.temperature <= 0 or min(weights) < 0:
            raise DgssError(
                f'A student cannot learn at temperature {self.temperature} with weights '
                f'{weights}; give a temperature above 0 and weights of at least 0.'
            )
        if not self.matches_features and not self.probabilities:
            raise DgssError(
                'A student learns nothing from its teacher if features, correlation and '
                'probabilities all weigh 0; give one of them a weight, or drop distillation.'
            )

    @property
    def matches_features(self) -> bool:
        """Whether the student's encoder is compared with the teacher's."""
        return self.features > 0 or self.correlation > 0

    @property
    def trains_head(self) -> bool:
        """Whether the student's head is part of a loss."""
        return self.probabilities > 0 or self.labels > 0


class Distillation(Objective):
    """The losses of a student against its teacher, and against labels if there are any.

    The head is frozen if no loss needs it. Raises DgssError if it is needed and does not classify
    pixels, if the teacher has another label set, or if features are to be matched by an encoder
    of which nothing is trained.
    """

    def __init__(self, model: SegmentationModel, config: DistillationConfig, **given: Any) -> None:
        super().__init__(model, **given)
        teacher = load_checkpoint(config.teacher).requires_grad_(False)
        check_pair(model, teacher, config)
        self.config = config
        # nn.Module registers module attributes; inside a tuple the teacher stays out of the saved
        # state, the average and FSDP.
        self.teacher = (teacher,)
        self.projection: nn.Module = nn.Identity()
        if config.features:
            widths = model.encoder.channels[-1], teacher.encoder.channels[-1]
            self.projection = nn.Conv2d(*widths, 1)
        if not config.trains_head:
            model.head.requires_grad_(False)
            model.train(model.training)

    def losses(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        inside: Tensor | None,
        counts: Counts,
    ) -> dict[str, Tensor]:
        config, student, teacher = self.config, self.model, self.teacher[0]
        theirs, target = self.ask(images)
        with self.mixed(labels, seed):
            # One call: sharded parameters (FSDP) are whole only inside the methods of `shard`.
            features, scores = student.features_and_scores(images, config.trains_head)
        ours, size = features[-1], image_size(images)
        # Each network pads images by its own patches: its maps cover an area of their own.
        deep = Frame(
            student.encoder.covered(size, -1), teacher.encoder.covered(size, -1), inside, counts
        )
        found = {}
        if scores is not None and target is not None:
            seen = Frame(student.covered(size), teacher.covered(size), inside, counts)
            distance = divergence(scores, target, config.temperature, seen)
            found['probabilities'] = config.probabilities * distance
        if config.features:
            found['features'] = config.features * angle(self.projection(ours), theirs, deep)
        if config.correlation:
            found['correlation'] = config.correlation * correlation(ours, theirs, deep)
        if scores is not None and config.labels:
            assert isinstance(student.head, PixelHead)
            compare = self.merged or student.head.score_loss
            found['labels'] = config.labels * compare(
                scores, student.extended(labels, size), counts
            )
        return found

    @torch.no_grad()
    def ask(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """The teacher's last features (B,C,h,w), and its probabilities at the stride of its head.

        The probabilities are None if they have no weight.
        """
        teacher = self.teacher[0].to(images.device)
        features = teacher.features(images)
        target = None
        if self.config.probabilities:
            target = teacher.head.to_probabilities(teacher.scores(features).float())
        return last_map(features, teacher.encoder), target


def check_pair(
    student: SegmentationModel, teacher: SegmentationModel, config: DistillationConfig
) -> None:
    """Raise DgssError unless the losses of `config` can be computed for the two networks."""
    if config.probabilities and teacher.label_set.names != student.label_set.names:
        if teacher.label_set.name == student.label_set.name:
            raise namesakes(teacher.label_set, student.label_set)
        raise DgssError(
            f'{config.teacher} knows the labels {teacher.label_set.name!r} and its student '
            f'{student.label_set.name!r}; give both the same.'
        )
    if config.trains_head and not isinstance(student.head, PixelHead):
        raise DgssError(
            f'A student whose head is {type(student.head).__name__} cannot be distilled into; '
            'choose a system whose head classifies pixels, dgss-mobilenetv2 for example.'
        )
    if config.matches_features and not any(p.requires_grad for p in student.encoder.parameters()):
        raise DgssError(
            "Nothing of this student's encoder is trained, so it cannot match features; set "
            'distillation.features and distillation.correlation to 0, or unfreeze it.'
        )


def last_map(features: list[Tensor], encoder: Encoder) -> Tensor:
    """The last map; tokens of the whole image may follow the maps."""
    return features[len(encoder.channels) - 1]
