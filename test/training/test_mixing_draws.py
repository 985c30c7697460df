"""The draws of style mixing are independent of each other."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext

import torch
from torch import nn

from dgss_core.training.mixing import MixingConfig, mixed_styles
from dgss_core.training.styles import StyleBank

STYLES = 9


class OneStage(nn.Module):
    ends_in_relu = False
    recomputed_in = nullcontext

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Identity()

    def first_stage(self) -> nn.Module:
        return self.stage


def test_every_style_is_drawn_for_the_first_patch() -> None:
    encoder = OneStage()
    # Style i has the mean i + 1; a share of 0 in any channel shows it.
    means = torch.arange(1.0, STYLES + 1).view(STYLES, 1, 1).expand(STYLES, 1, 64)
    bank = StyleBank({0: torch.cat((means, torch.ones(STYLES, 1, 64)), 1)})
    config = MixingConfig(side=1, alpha=0.01, probability=0.5)
    labels, low = torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 64, 4, 4)
    drawn: Counter[int] = Counter()
    for seed in range(400):
        torch.manual_seed(seed)
        with mixed_styles(encoder, labels, bank, config, seed):
            drawn[round(encoder.stage(low).mean((2, 3)).amax().item())] += 1
    assert drawn.pop(0) in range(160, 241)
    assert sorted(drawn) == list(range(1, STYLES + 1))
    assert min(drawn.values()) > 8
