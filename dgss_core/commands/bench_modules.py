"""`dgss bench modules`: our modules against plain PyTorch versions of the same formulas."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

from dgss_core.commands.limits import at_least
from dgss_core.commands.tables import print_table
from dgss_core.networks.adapters.reins import Reins
from dgss_core.networks.heads.mask2former.deformable import DeformableAttention, Sizes
from dgss_core.networks.heads.mask2former.pixel_decoder import EncoderLayer, PixelDecoder


class PlainDeformableAttention(DeformableAttention):
    """Deformable attention as usually written in PyTorch.

    Values have heads last until each level is copied into an image, the sampling places of all
    levels are computed at once, and the samples of all levels are stacked before the sum.
    """

    def forward(self, queries: Tensor, values: Tensor, places: Tensor, sizes: Sizes) -> Tensor:
        batch, count, width = queries.shape
        head_width = width // self.heads
        values = self.value(values).view(batch, -1, self.heads, head_width)
        slots = (batch, count, self.heads, self.levels, self.points)
        offsets = self.offsets(queries).view(*slots, 2)
        weights = self.weights(queries).view(*slots[:3], -1).softmax(-1).view(slots)
        extent = torch.tensor([(w, h) for h, w in sizes], dtype=queries.dtype)
        places = places[None, :, None, None, None]
        grids = 2 * (places + offsets / extent[None, None, None, :, None]) - 1
        samples, start = [], 0
        for level, (h, w) in enumerate(sizes):
            image = values[:, start : start + h * w].flatten(2).transpose(1, 2)
            image = image.reshape(batch * self.heads, head_width, h, w)
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
            samples.append(F.grid_sample(image, grid, align_corners=False))
            start += h * w
        weights = weights.transpose(1, 2).reshape(batch * self.heads, 1, count, -1)
        summed = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1)
        return self.out(summed.view(batch, width, count).transpose(1, 2).contiguous())


class PlainReins(Reins):
    """Rein that multiplies out all tokens in each layer, with einsum on token-first features."""

    def forward(self, x: Tensor, layer: int, prefix: int = 0) -> Tensor:
        cls, x = x[:, :prefix], x[:, prefix:].permute(1, 0, 2)
        tokens = self.layer_tokens()[layer]
        similarity = torch.einsum('nbc,mc->nbm', x, tokens) * x.shape[-1] ** -0.5
        similarity = F.softmax(similarity, dim=-1)
        mixed = torch.einsum('nbm,mc->nbc', similarity[:, :, 1:], self.feature(tokens[1:]))
        change = self.delta(mixed + x) * self.scale
        return torch.cat((cls, (x + change).permute(1, 0, 2)), dim=1)


@dataclass
class Contest:
    """One of our modules, its plain version, and the call that runs either."""

    name: str
    ours: nn.Module
    plain: nn.Module
    call: Callable[[nn.Module], Tensor]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self) -> None:
        """Time inference, forward with a graph, and backward, of both modules in turn."""
        for side, module in (('ours', self.ours), ('plain', self.plain)):
            start = time.perf_counter()
            with torch.no_grad():
                self.call(module)
            inferred = time.perf_counter()
            loss = self.call(module).square().mean()
            built = time.perf_counter()
            loss.backward()
            ended = time.perf_counter()
            module.zero_grad()
            spans = (inferred - start, built - inferred, ended - built)
            for kind, span in zip(('inference', 'forward', 'backward'), spans, strict=True):
                self.seconds.setdefault(f'{side} {kind}', []).append(span)

    def result(self, kind: str) -> tuple[float, float, float]:
        """Median seconds of ours and of plain, and the median of their ratios."""
        ours, plain = self.seconds[f'ours {kind}'], self.seconds[f'plain {kind}']
        ratios = [a / b for a, b in zip(ours, plain, strict=True)]
        return median(ours), median(plain), median(ratios)


def pixel_decoder_contest(*, height: int, width: int, layers: int = 6) -> Contest:
    """Mask2Former's pixel decoder on four maps of 1024 channels (Rein, VLTSeg)."""
    channels = (1024,) * 4
    ours = PixelDecoder(channels, layers=layers)
    for module in ours.modules():
        if isinstance(module, DeformableAttention):
            nn.init.normal_(module.offsets.weight, std=0.02)
            nn.init.normal_(module.weights.weight, std=0.02)
    plain = PixelDecoder(channels, layers=layers)
    for module in plain.modules():
        if not isinstance(module, EncoderLayer):
            continue
        attention = module.attention
        module.attention = PlainDeformableAttention(
            attention.value.in_features, attention.levels, attention.heads, attention.points
        )
    plain.load_state_dict(ours.state_dict())
    features = [
        torch.randn(1, count, -(-height // stride), -(-width // stride))
        for count, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]

    def call(module: nn.Module) -> Tensor:
        mask_feature, memories = module(features)
        return torch.cat([mask_feature.flatten(), *(m.flatten() for m in memories)])

    return Contest(f'pixel decoder, {layers} layers', ours, plain, call)


def reins_contest(*, height: int, width: int, layers: int = 24) -> Contest:
    """Rein after every block of a ViT-L/16."""
    ours, plain = Reins(layers, 1024), PlainReins(layers, 1024)
    plain.load_state_dict(ours.state_dict())
    tokens = torch.randn(1, 1 + (height // 16) * (width // 16), 1024)

    def call(module: nn.Module) -> Tensor:
        x = tokens
        for layer in range(layers):
            x = module(x, layer, prefix=1)
        return x

    return Contest(f'Rein, {layers} layers', ours, plain, call)


def modules(*, height: int = 256, width: int = 256, repeats: int = 5, threads: int = 0) -> None:
    """Time our modules against plain PyTorch versions of the same networks, on the CPU.

    Args:
        height: height in pixels of the image that the feature maps belong to
        width: width of that image in pixels
        repeats: runs of each module, in turn; the table shows medians
        threads: threads of PyTorch; 0 keeps its default
    """
    at_least(32, height=height, width=width)
    at_least(1, repeats=repeats)
    at_least(0, threads=threads)
    if threads:
        torch.set_num_threads(threads)
    table = Table('module', 'pass', 'ours, ms', 'plain, ms', 'ours / plain')
    for make in (pixel_decoder_contest, reins_contest):
        contest = make(height=height, width=width)
        contest.run()
        contest.seconds.clear()
        for _ in range(repeats):
            contest.run()
        for kind in ('inference', 'forward', 'backward'):
            ours, plain, ratio = contest.result(kind)
            milliseconds = (f'{seconds * 1e3:.1f}' for seconds in (ours, plain))
            table.add_row(contest.name, kind, *milliseconds, f'{ratio:.2f}')
    print_table(table)
