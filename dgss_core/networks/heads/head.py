"""The interface of every head."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.losses.segmentation import segmentation_loss
from dgss_core.networks.resize import resize


class Head(nn.Module, ABC):
    """Feature maps (B,C_i,H/s_i,W/s_i) to scores (B,num_classes,h,w).

    The maps come in the encoder's order, usually finest first; the last may be a fused one.

    Scores are `stride` times smaller than the image. With `probabilities=False` they are logits,
    to which a softmax over the classes is applied; with True they are evidence in [0,inf) per
    class, without softmax. `to_probabilities` handles both.
    """

    probabilities = False
    classifier = 'classify'
    """Name of the layer with a row per class; a row after them is for "no object"."""

    align_corners = False
    """Of the resize of scores to the image."""

    takes_prefix = False
    """Whether tokens of the whole image may follow the feature maps, see `Encoder`."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, stride: int
    ) -> None:
        super().__init__()
        if len(channels) != len(strides) or not channels:
            raise DgssError(
                f'a head needs one stride for each feature map, but got {len(channels)} channel '
                f"counts and {len(strides)} strides; pass the encoder's channels and strides."
            )
        if num_classes < 1:
            raise DgssError(f'a head needs at least one class, not {num_classes}.')
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.stride = stride

    @property
    def classifiers(self) -> tuple[str, ...]:
        """Names of all layers with a row per class: `classifier`, and those of auxiliary parts."""
        return (self.classifier,)

    @abstractmethod
    def forward(self, features: list[Tensor]) -> Tensor:
        """Scores (B,num_classes,h,w) at `stride`."""

    def at_size(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Scores (B,num_classes,*size) for a (height, width), resized as in the head's paper."""
        return resize(self(features), size, self.align_corners)

    def taken_blocks(self) -> list[nn.Module]:
        """Blocks of a pre-trained encoder that this head holds, in their order; here none."""
        return []

    def anneal(self, progress: float) -> None:
        """Follow the progress of a training in [0,1], before each step; here nothing changes."""

    def to_probabilities(self, scores: Tensor) -> Tensor:
        """Scores of this head (B,C,...) to probabilities, which sum to 1 over the classes."""
        if self.probabilities:
            return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return scores.softmax(dim=1)

    @abstractmethod
    def loss(
        self, features: list[Tensor], labels: Tensor, *, counts: Counts | None = None
    ) -> dict[str, Tensor]:
        """Named losses, to be summed, for labels (B,H,W) long; 255 is ignored.

        `counts` is as in `segmentation_loss`.
        """


class PixelHead(Head):
    """A head whose scores are logits, trained with per-pixel cross-entropy."""

    label_smoothing = 0.0
    auxiliary = False
    """Whether parts that only training uses learn in `extra_losses`."""

    def loss(
        self, features: list[Tensor], labels: Tensor, *, counts: Counts | None = None
    ) -> dict[str, Tensor]:
        scores = self(features)
        losses = {'ce': self.score_loss(scores, labels, counts)}
        return losses | self.extra_losses(scores, features, labels, counts)

    def extra_losses(
        self, scores: Tensor, features: list[Tensor], labels: Tensor, counts: Counts | None
    ) -> dict[str, Tensor]:
        """Named losses besides that of the `scores` of these features; here there are none."""
        return {}

    def score_loss(self, scores: Tensor, labels: Tensor, counts: Counts | None = None) -> Tensor:
        """Cross-entropy of scores that this head has already computed."""
        return segmentation_loss(
            scores,
            labels,
            label_smoothing=self.label_smoothing,
            counts=counts,
            align_corners=self.align_corners,
        )


def refuse_stride(head: str, wanted: int, possible: Sequence[int]) -> None:
    """Raise a DgssError unless the head can give scores at stride `wanted`."""
    if wanted not in possible:
        names = ', '.join(str(stride) for stride in possible)
        raise DgssError(
            f'{head} cannot give scores at stride {wanted} here; choose one of: {names}.'
        )
