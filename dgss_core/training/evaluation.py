"""Scores of a model in training, on named splits under a named protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from dgss_core.bars import tracked
from dgss_core.confusion import ConfusionMatrix
from dgss_core.datasets import Dataset, Sample
from dgss_core.datasets.protocols import Protocol, ProtocolView
from dgss_core.labels import LabelSet
from dgss_core.networks.inference import Inference
from dgss_core.networks.resize import resize
from dgss_core.networks.systems import SegmentationModel
from dgss_core.runtime.segmenter import Prediction
from dgss_core.training.fabric import Fabric


class ModelSegmenter:
    """A model as a segmenter of images; `inference` sets scales, flips and windows."""

    def __init__(self, model: SegmentationModel, inference: Inference) -> None:
        self.model, self.inference = model, inference

    @property
    def labels(self) -> LabelSet:
        return self.model.label_set

    def __call__(self, image: np.ndarray, size: tuple[int, int] | None = None) -> Prediction:
        """Segment an RGB image, uint8 (H, W, 3).

        The mask has `size`, (height, width), by default the size of the image. The scores are
        resized, not the mask.
        """
        pixels = torch.from_numpy(np.require(image, requirements=['C', 'W'])).to(
            self.model.mean.device
        )
        scores = self.inference(self.model.at_size, pixels.permute(2, 0, 1)[None].float())
        scores = resize(scores.float(), size or image.shape[:2])
        confidence, mask = self.model.head.to_probabilities(scores)[0].max(0)
        return Prediction(
            mask.to(torch.uint8).cpu().numpy(),
            (255 * confidence).round().to(torch.uint8).cpu().numpy(),
        )


@dataclass
class ScoredSplit:
    """A split and the view of its protocol. `title` names both and is stored with each score."""

    dataset: Dataset
    view: ProtocolView
    title: str

    def frames(self, first: int = 0, every: int = 1) -> Iterator[Sample]:
        """Every `every`-th frame from `first` on, without those that the protocol skips."""
        for index in range(first, len(self.dataset), every):
            sample = self.view(self.dataset[index])
            if sample is not None:
                yield sample


def protocol_inference(protocol: Protocol, inference: Inference) -> Inference:
    """`inference` with the windows of the protocol, unless it has its own."""
    if inference.window is not None or protocol.window is None:
        return inference
    stride = protocol.stride or protocol.window
    sides = (protocol.window, protocol.window), (stride, stride)
    return replace(inference, window=sides[0], stride=sides[1])


def score(
    fabric: Fabric, segmenter: ModelSegmenter, split: ScoredSplit, shared: bool
) -> ConfusionMatrix:
    """The confusion matrix of the whole split in its own label set, the same on every process.

    With `shared` each process scores a part of the frames. Without it each process scores all
    frames; sharded weights need this, because all processes gather them together.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if shared else (0, 1)
    merge = segmenter.labels.merge_to(split.dataset.label_set)
    matrix = ConfusionMatrix(split.dataset.label_set)
    total = len(range(rank, len(split.dataset), world))
    frames = split.frames(rank, world)
    for sample in tracked(frames, split.title, total, fabric.is_global_zero):
        mask = segmenter(sample.image, size=sample.labels.shape).mask
        matrix.add(merge[mask], sample.labels)
    if world > 1:
        counts = fabric.all_reduce(
            torch.from_numpy(matrix.counts).to(fabric.device), reduce_op='sum'
        )
        assert isinstance(counts, torch.Tensor)
        matrix.counts = counts.cpu().numpy()
    return matrix
