"""Changes of exposure between noon and night."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.tv_tensors import Image


class Exposure(v2.Transform):
    """Random gamma, gain, colour tint and sensor noise of an RGB uint8 image (3, H, W).

    A darker exposure gets more noise, like a sensor with raised gain. `gamma` and `gain` are
    ranges (low, high); each channel's gain varies by up to `tint`; `noise` is the highest
    standard deviation at gain 1, as a share of 255.
    """

    def __init__(
        self,
        gamma: tuple[float, float] = (0.6, 2.2),
        gain: tuple[float, float] = (0.3, 1.3),
        tint: float = 0.15,
        noise: float = 0.04,
    ) -> None:
        super().__init__()
        self.gamma, self.gain, self.tint, self.noise = gamma, gain, tint, noise

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        gain = torch.empty(1).uniform_(*self.gain)
        return {
            'gamma': torch.empty(1).uniform_(*self.gamma).item(),
            'gain': gain * (1 + torch.empty(3).uniform_(-self.tint, self.tint)),
            'noise': self.noise * torch.rand(1).item() / gain.clamp(min=0.3).item(),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, Image):
            return inpt
        levels = torch.linspace(0, 1, 256) ** params['gamma'] * params['gain'][:, None] * 255
        light = torch.stack(
            [level[channel.long()] for level, channel in zip(levels, inpt, strict=True)]
        )
        light += torch.randn_like(light[:1]) * params['noise'] * 255
        return Image(light.clamp_(0, 255).to(torch.uint8))
