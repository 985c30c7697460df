"""A segmentation model: an encoder, a head, and the label set of its scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE, LabelSet
from dgss_core.networks.encoders.encoder import Encoder, hold_frozen
from dgss_core.networks.heads.head import Head
from dgss_core.networks.losses.counts import Counts


class SegmentationModel(nn.Module):
    """Images in, scores out. The model normalises the images; the caller must not.

    Raises DgssError if the encoder keeps tokens that the head does not take.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, head: Head, label_set: LabelSet) -> None:
        super().__init__()
        if encoder.keep_prefix and not head.takes_prefix:
            raise DgssError(
                f'{type(head).__name__} takes feature maps alone, but the encoder keeps its class '
                'token and registers too; set keep_prefix of the encoder to False.'
            )
        self.encoder, self.head, self.label_set = encoder, head, label_set
        for name in ('mean', 'std'):
            values = torch.tensor(getattr(encoder, name)).view(1, 3, 1, 1) * 255
            self.register_buffer(name, values, persistent=False)

    def train(self, mode: bool = True) -> SegmentationModel:
        """As usual, but modules whose parameters are all frozen stay in eval mode."""
        super().train(mode)
        hold_frozen(self)
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise RGB (B, 3, H, W) in [0, 255] for the encoder."""
        return (images - self.mean) / self.std

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps for RGB images, float (B, 3, H, W) in [0, 255]."""
        return self.encoder(self.normalise(images))

    def scores(self, features: list[Tensor]) -> Tensor:
        """Scores (B, classes, h, w) at the head's stride for the encoder's maps."""
        return self.head(features)

    def features_and_scores(
        self, images: Tensor, scored: bool = True
    ) -> tuple[list[Tensor], Tensor | None]:
        """Both of the above for RGB images (B, 3, H, W) in [0, 255]; of the features, the maps.

        One pass of sharded parameters (FSDP). The scores are None if they are not to be `scored`.
        """
        features = self.features(images)
        return features[: len(self.encoder.channels)], self.scores(features) if scored else None

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, classes, h, w) at the head's stride for RGB (B, 3, H, W) in [0, 255]."""
        return self.scores(self.features(images))

    def at_size(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Scores (B, classes, *size); size is (height, width), by default that of the images.

        The resize is that of the head's paper: Mask2Former resizes masks before the sigmoid.
        """
        return self.at_size_of(images, size)

    def at_size_of(self, images: Tensor, size: tuple[int, int] | None, *queries: Tensor) -> Tensor:
        """As `at_size`; `queries` go to the head."""
        size = size or image_size(images)
        whole = scaled(size, self.covered(image_size(images)), image_size(images))
        scores = self.head.at_size(self.features(images), whole, *queries)
        return scores if whole == size else scores[..., : size[0], : size[1]]

    def covered(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width in pixels that the scores of an image of `size` cover; see `Encoder`.

        More than `size`, if the encoder pads the image.
        """
        strides, stride = self.encoder.strides, self.head.stride
        return self.encoder.covered(size, strides.index(stride) if stride in strides else 0)

    def extended(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """Labels (B, h, w) of images of `size`, continued by 255 over what the scores cover."""
        given = image_size(labels)
        whole = scaled(given, self.covered(size), size)
        if whole == given:
            return labels
        return F.pad(labels, (0, whole[1] - given[1], 0, whole[0] - given[0]), value=IGNORE)

    def loss(
        self, images: Tensor, labels: Tensor, counts: Counts | None = None
    ) -> dict[str, Tensor]:
        """Named losses, to be summed, for labels (B, H, W) long; 255 is ignored.

        With the `counts` of an optimiser step they are divided by what the whole step has.
        """
        labels = self.extended(labels, image_size(images))
        return self.head.loss(self.features(images), labels, counts=counts)


def image_size(images: Tensor) -> tuple[int, int]:
    """(height, width) of images (B, 3, H, W)."""
    return images.shape[-2], images.shape[-1]


def scaled(
    size: tuple[int, int], whole: tuple[int, int], part: tuple[int, int]
) -> tuple[int, int]:
    """`size` of what shows `part` pixels, extended to show `whole`; (height, width) each."""
    if whole == part:
        return size
    height, width = (round(a * b / c) for a, b, c in zip(size, whole, part, strict=True))
    return height, width
