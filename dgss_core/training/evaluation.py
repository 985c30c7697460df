"""Scores of a model in training, on named splits and at the size of their labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import lightning as L
import numpy as np
import torch

from dgss_core.datasets import Dataset, Sample
from dgss_core.evaluate import evaluate
from dgss_core.inference import Inference
from dgss_core.labels import LabelSet
from dgss_core.metrics import ConfusionMatrix
from dgss_core.resize import resize
from dgss_core.segmenter import Prediction
from dgss_core.systems import SegmentationModel


class ModelSegmenter:
    """A model as a segmenter of images.

    `look` says how an image is looked at; `height` what it is resized to before, in pixels and
    keeping its shape. None leaves it as it is.
    """

    def __init__(
        self, model: SegmentationModel, look: Inference, height: int | None = None
    ) -> None:
        self.model, self.look, self.height = model, look, height

    @property
    def labels(self) -> LabelSet:
        return self.model.label_set

    def __call__(self, image: np.ndarray) -> Prediction:
        """Segment an RGB image, uint8 (H, W, 3); the scores are resized, not the mask."""
        size, device = image.shape[:2], self.model.mean.device
        if self.height is not None and self.height != size[0]:
            width = round(size[1] * self.height / size[0])
            image = cv2.resize(image, (width, self.height), interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
        scores = self.look(self.model.at_size, pixels.permute(2, 0, 1)[None].float())
        probabilities = self.model.head.to_probabilities(resize(scores.float(), size))[0]
        confidence, mask = probabilities.max(0)
        return Prediction(
            mask.to(torch.uint8).cpu().numpy(), (confidence * 255).to(torch.uint8).cpu().numpy()
        )


@dataclass
class Part:
    """Every `count`-th frame of a dataset, from the `first` on."""

    whole: Dataset
    first: int
    count: int

    @property
    def label_set(self) -> LabelSet:
        return self.whole.label_set

    def __len__(self) -> int:
        return len(range(self.first, len(self.whole), self.count))

    def __getitem__(self, index: int) -> Sample:
        return self.whole[self.first + index * self.count]


def score(
    fabric: L.Fabric, segmenter: ModelSegmenter, dataset: Dataset, shared: bool
) -> ConfusionMatrix:
    """The confusion matrix of the whole split, the same on every process.

    With `shared` the processes share the frames; without, every one sees them all, which sharded
    weights need: they are gathered by all processes together.
    """
    share = (fabric.global_rank, fabric.world_size) if shared else (0, 1)
    part = Part(dataset, *share)
    matrix = evaluate(segmenter, part, dataset.title, show=fabric.is_global_zero)
    if shared and fabric.world_size > 1:
        counts = torch.from_numpy(matrix.counts).to(fabric.device)
        total = fabric.all_reduce(counts, reduce_op='sum')
        assert isinstance(total, torch.Tensor)
        matrix.counts = total.cpu().numpy()
    return matrix
