"""The keys of published real-time checkpoints, and weights for them from a formula.

A line of a layout is a weight with its shapes, or a batch norm (five weights) with its channels,
one column per size of the network. Names and shapes are those of OpenMMLab's mmsegmentation 1.2.2
and of the authors' repositories (XuJiacong/PIDNet 4c158cf, ydhongHIT/DDRNet de0db31,
CoinCheung/BiSeNet 6b4b67a). The scores in records.json are those of their networks with these
weights, for the image of `formula_image`, at its size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / 'networks' / 'importers' / 'realtime'
NORM = ('weight', 'bias', 'running_mean', 'running_var')
LAYOUTS = {
    path.stem: tuple(path.read_text().partition('\n')[0].split()[1:])
    for path in sorted(FOLDER.glob('*.txt'))
}
"""Name of each layout -> names of its columns."""


def records() -> dict[str, dict[str, Any]]:
    """Recorded scores, by '<layout> <column>'."""
    return json.loads((FOLDER / 'records.json').read_text())


def shapes(layout: str, column: str) -> dict[str, tuple[int, ...]]:
    """The keys of a published state dict with their shapes, in its order."""
    title, *lines = (FOLDER / f'{layout}.txt').read_text().splitlines()
    place = title.split().index(column)
    found: dict[str, tuple[int, ...]] = {}
    for line in lines:
        name, size = line.split()[0], tuple(map(int, line.split()[place].split('x')))
        if name.endswith(('.weight', '.bias')):
            found[name] = size
        else:
            found |= {f'{name}.{kind}': size for kind in NORM}
            found[f'{name}.num_batches_tracked'] = ()
    return found


def formula_weights(layout: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights without a pattern that keep the size of what they process; the same everywhere."""
    weights = {}
    for index, (name, shape) in enumerate(layout.items()):
        norm = f'{name.rpartition(".")[0]}.running_var' in layout
        if not shape:
            weights[name] = torch.tensor(1)
        elif len(shape) > 1:
            weights[name] = noise(shape, index) * (3 / (torch.Size(shape[1:]).numel())) ** 0.5
        elif name.endswith('running_var') or (norm and name.endswith('weight')):
            weights[name] = 0.8 + 0.2 * noise(shape, index)
        else:
            weights[name] = 0.2 * noise(shape, index)
    return weights


def formula_image(height: int, width: int) -> Tensor:
    """RGB (1, 3, height, width) of whole numbers in [0, 255]."""
    return ((noise((1, 3, height, width), 7) + 1) * 127.5).round()


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers in [-1, 1) from whole numbers, which every machine multiplies alike."""
    k = torch.arange(torch.Size(shape).numel())
    scattered = (31 * k * k + 7919 * k + 104729 * seed) % 65521
    return (scattered.double() / 65521 * 2 - 1).reshape(shape).float()


def picked(scores: Tensor, count: int = 24) -> list[float]:
    """`count` scores from everywhere."""
    flat = scores.flatten()
    return flat[11 :: len(flat) // count][:count].tolist()
