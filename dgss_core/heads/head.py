"""The contract every head keeps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.losses.segmentation import segmentation_loss


class Head(nn.Module, ABC):
    """Feature maps (B,C_i,H/s_i,W/s_i), finest first, to scores (B,num_classes,h,w).

    `stride` says how much smaller than the image the scores are. `probabilities` says what they
    are: False = logits, take a softmax over the classes; True = already in [0,1] per class.
    """

    probabilities = False

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

    @abstractmethod
    def forward(self, features: list[Tensor]) -> Tensor:
        """Scores (B,num_classes,h,w) at `stride`."""

    @abstractmethod
    def loss(self, features: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Named losses, to be summed, for labels (B,H,W) long where 255 is ignored."""


class PixelHead(Head):
    """A head whose scores are logits, trained with per-pixel cross-entropy."""

    label_smoothing = 0.0

    def loss(self, features: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        scores = self(features)
        return {'ce': segmentation_loss(scores, labels, label_smoothing=self.label_smoothing)}


def refuse_stride(head: str, wanted: int, possible: Sequence[int]) -> None:
    """Raise a DgssError unless `wanted` is one of the strides the head can give."""
    if wanted not in possible:
        names = ', '.join(str(stride) for stride in possible)
        raise DgssError(
            f'{head} cannot give scores at stride {wanted} here; choose one of: {names}.'
        )
