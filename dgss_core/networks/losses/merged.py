"""Cross-entropy over several label sets: a coarse label trains all classes that it merges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.losses.counts import Counts, share
from dgss_core.networks.resize import resize


class MergedLoss(nn.Module):
    """Negative log-likelihood of labels that may stand for several classes of the model.

    A pixel with CamVid's label `bicyclist` is rider, motorcycle or bicycle. Its likelihood is the
    sum of theirs (learning from partial labels, Cour et al., JMLR 2011). All label sets share one
    id space: `offset[name]` is added to the ids of the set `name`.
    `align_corners` and `label_smoothing` are those of the head; the classes of the model share
    what is smoothed, as in `segmentation_loss`.
    """

    def __init__(
        self,
        label_set: LabelSet,
        others: Sequence[LabelSet],
        align_corners: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.align_corners, self.label_smoothing = align_corners, label_smoothing
        self.offset = {label_set.name: 0}
        self.members: list[list[int]] = []
        for other in others:
            self.offset[other.name] = len(label_set) + len(self.members)
            merged = label_set.merge_to(other)[: len(label_set)]
            self.members += [np.flatnonzero(merged == i).tolist() for i in range(len(other))]

    def forward(self, scores: Tensor, labels: Tensor, counts: Counts | None = None) -> Tensor:
        """Mean loss of logits (B, C, h, w), resized to labels (B, H, W) long; 255 is ignored.

        `counts` is as in `segmentation_loss`.
        """
        # Contiguous: on the CPU, the backward of a resize needs a contiguous gradient.
        scores = resize(scores.float().contiguous(), labels.shape[-2:], self.align_corners)
        likely = scores.log_softmax(1)
        # A label that stands for no class teaches nothing.
        coarse = [
            torch.stack([likely[:, i] for i in classes]).logsumexp(0)
            if classes
            else torch.zeros_like(likely[:, 0])
            for classes in self.members
        ]
        every = likely.mean(1, keepdim=True)
        likely = torch.cat((likely, *(plane[:, None] for plane in coarse)), dim=1)
        if self.label_smoothing:
            teaches = [1.0] * scores.shape[1] + [float(bool(classes)) for classes in self.members]
            shared = every * likely.new_tensor(teaches)[:, None, None]
            likely = likely + self.label_smoothing * (shared - likely)
        loss = F.nll_loss(likely, labels, ignore_index=IGNORE, reduction='sum')
        return share(loss, (labels != IGNORE).sum() if counts is None else counts.pixels)
