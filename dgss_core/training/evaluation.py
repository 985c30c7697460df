"""Scores of a model in training, on named splits and as a named protocol looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import lightning as L
import numpy as np
import torch
from rich.progress import track

from dgss_core.confusion import ConfusionMatrix
from dgss_core.datasets import Dataset, Sample
from dgss_core.datasets.protocols import Protocol, ProtocolView
from dgss_core.labels import LabelSet
from dgss_core.networks.inference import Inference
from dgss_core.networks.resize import resize
from dgss_core.networks.systems import SegmentationModel
from dgss_core.runtime.segmenter import Prediction


class ModelSegmenter:
    """A model as a segmenter of images; `look` says how it looks at one."""

    def __init__(self, model: SegmentationModel, look: Inference) -> None:
        self.model, self.look = model, look

    @property
    def labels(self) -> LabelSet:
        return self.model.label_set

    def __call__(self, image: np.ndarray, size: tuple[int, int] | None = None) -> Prediction:
        """Segment an RGB image, uint8 (H, W, 3), at `size` (height, width) or its own.

        The scores are resized, not the mask.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.model.mean.device)
        scores = self.look(self.model.at_size, pixels.permute(2, 0, 1)[None].float())
        scores = resize(scores.float(), size or image.shape[:2])
        confidence, mask = self.model.head.to_probabilities(scores)[0].max(0)
        return Prediction(
            mask.to(torch.uint8).cpu().numpy(), (confidence * 255).to(torch.uint8).cpu().numpy()
        )


@dataclass
class ScoredSplit:
    """A split, and how its frames are looked at. `title` says both, to stand with every score."""

    dataset: Dataset
    view: ProtocolView
    title: str

    def frames(self, first: int = 0, every: int = 1) -> Iterator[Sample]:
        """Every `every`-th frame from the `first` on; a protocol may leave some out."""
        for index in range(first, len(self.dataset), every):
            sample = self.view(self.dataset[index])
            if sample is not None:
                yield sample


def protocol_look(protocol: Protocol, look: Inference) -> Inference:
    """`look` with the windows of the protocol, where it has none of its own."""
    if look.window is not None or protocol.window is None:
        return look
    stride = protocol.stride or protocol.window
    sides = (protocol.window, protocol.window), (stride, stride)
    return replace(look, window=sides[0], stride=sides[1])


def score(
    fabric: L.Fabric, segmenter: ModelSegmenter, split: ScoredSplit, shared: bool
) -> ConfusionMatrix:
    """The confusion matrix of the whole split in its own labels, the same on every process.

    With `shared` the processes share the frames; without, every one sees them all, which sharded
    weights need: they are gathered by all processes together.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if shared else (0, 1)
    merge = segmenter.labels.merge_to(split.dataset.label_set)
    matrix = ConfusionMatrix(split.dataset.label_set)
    total = len(range(rank, len(split.dataset), world))
    show = fabric.is_global_zero
    for sample in track(split.frames(rank, world), split.title, total, disable=not show):
        mask = segmenter(sample.image, sample.labels.shape).mask
        matrix.add(merge[mask], sample.labels)
    if world > 1:
        counts = fabric.all_reduce(
            torch.from_numpy(matrix.counts).to(fabric.device), reduce_op='sum'
        )
        assert isinstance(counts, torch.Tensor)
        matrix.counts = counts.cpu().numpy()
    return matrix
