"""An encoder: images in, feature maps of known channels and strides out.

`dgss.encoders` points to a function that takes the weights (None is random) and the options of a
recipe's `encoder_options`. The system `dgss-tiny` then joins it to the light convolutional head.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

import dgss_core as dgss

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TinyEncoder(dgss.Encoder):
    """Four strided convolutions, with maps at strides 4, 8, 16 and 32."""

    def __init__(self, width: int = 16) -> None:
        channels = tuple(width << stage for stage in range(4))
        super().__init__(channels, (4, 8, 16, 32), 32, MEAN, STD)
        strides, inputs = (4, 2, 2, 2), (3, *channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 2 * s - 1, s, padding=s - 1), nn.ReLU())
            for i, o, s in zip(inputs, channels, strides, strict=True)
        )

    def maps(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def trunk(self) -> list[list[nn.Module]]:
        return [[stage] for stage in self.stages]


def build_encoder(weights: str | Path | None = None, **options: int) -> TinyEncoder:
    encoder = TinyEncoder(**options)
    if weights is not None:
        encoder.load_pretrained(load_file(weights), str(weights))
    return encoder
