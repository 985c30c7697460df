"""The graph in a bundle: from camera bytes to class ids."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.networks.resize import resize
from dgss_core.networks.systems.model import SegmentationModel, scaled
from dgss_core.runtime.bundle import CONFIDENCE, MASK, STATISTICS, UNCERTAINTY
from dgss_core.training.styles import channel_statistics

STEP = 2
"""One id is computed for each STEP x STEP pixels."""
MODEL_PREFIX = 'model.'
"""Start of the names of exported nodes inside the model: its attribute in `DeployedNetwork`."""


class Answers(NamedTuple):
    """The outputs of `DeployedNetwork`, as `dgss_core.runtime.bundle` describes them."""

    mask: Tensor
    confidence: Tensor
    uncertainty: Tensor
    statistics: Tensor


class DeployedNetwork(nn.Module):
    """From uint8 RGB (N, H, W, 3) to `Answers`; `OUTPUTS` are their tensor names.

    The probabilities are resized to half the image, the best class is chosen there, and its id is
    repeated over 2 x 2 pixels. This avoids a map per class at full size, the most expensive part
    of the network on small computers, and gives smoother edges than the head's stride.
    """

    OUTPUTS: tuple[str, ...] = (MASK, CONFIDENCE, UNCERTAINTY, STATISTICS)

    def __init__(self, model: SegmentationModel, step: int = STEP) -> None:
        super().__init__()
        self.model, self.step = model, step

    def forward(self, images: Tensor) -> Answers:
        # The cast is first, because TensorRT supports only a cast of uint8 inputs.
        features = self.model.features(images.float().permute(0, 3, 1, 2))
        return self.answer(features, self.model.scores(features), images.shape[1], images.shape[2])

    def answer(self, features: list[Tensor], scores: Tensor, height: int, width: int) -> Answers:
        """Compute the outputs from the maps of the encoder and the scores of the head."""
        probabilities = self.model.head.to_probabilities(scores)
        cells = (-(-height // self.step), -(-width // self.step))
        # One TopK is cheaper than a maximum and an arg-max.
        confidence, mask = self.over(probabilities, cells, (height, width)).topk(1, dim=1)
        uncertainty = self.over(entropy(probabilities), cells, (height, width))
        maps = torch.cat(
            (mask.float(), (255 * confidence).round(), (255 * uncertainty).round()), 1
        )
        if self.step > 1:
            maps = F.interpolate(maps, size=(height, width), mode='nearest')
        # Each is cast separately at the end, because TensorRT allows uint8 only at outputs.
        mask, confidence, uncertainty = (part.to(torch.uint8) for part in maps.unbind(1))
        statistics = torch.cat(channel_statistics(features[0]), 1).flatten(1)
        return Answers(mask, confidence, uncertainty, statistics)

    def over(self, maps: Tensor, cells: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Maps resized to `cells` over an image of `size`, without what the encoder padded."""
        whole = scaled(cells, self.model.covered(size), size)
        maps = resize(maps, whole, self.model.head.align_corners)
        return maps if whole == cells else maps[..., : cells[0], : cells[1]]


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the classes (B,C,h,w) as a share of its maximum, (B,1,h,w) in [0,1]."""
    surprise = -probabilities.clamp(min=1e-6).log() / log(max(2, probabilities.shape[1]))
    return (probabilities * surprise).sum(1, keepdim=True).clamp(max=1)
