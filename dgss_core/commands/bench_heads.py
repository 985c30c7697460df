"""`dgss bench model --heads`: the light head and Mask2Former's on one backbone."""

from __future__ import annotations

import json as json_text
import time
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from dgss_core.commands.turns import take_turns
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.systems import build_system

SYSTEMS = {
    'four taps, light convolutions': 'dgss-eva02-clip-l',
    'Mask2Former': 'vltseg-eva02-clip-l',
}
"""Two systems that differ only in the head."""

SMALL = {'width': 384, 'depth': 12, 'heads': 6, 'taps': (2, 5, 8, 11), 'image_size': 256}
"""Options of a ViT-S backbone for machines without a GPU; heads keep their published sizes."""


def compare_heads(seconds: float, json: bool) -> None:
    """Time both networks in turns, with EVA02-CLIP-L at 512x1024 in fp16 on a GPU.

    Without a GPU: with a ViT-S at 256x512 in fp32.
    """
    gpu = torch.cuda.is_available()
    device, (height, width) = ('cuda', (512, 1024)) if gpu else ('cpu', (256, 512))
    images = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=device)
    options = {'image_size': 512} if gpu else SMALL
    times: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    parameters = {}
    steps = []
    for name, system in SYSTEMS.items():
        # Random weights: the speed depends only on the sizes.
        model = build_system(system, encoder_options=options)
        parameters[name] = sum(p.numel() for p in model.head.parameters())
        network = DeployedNetwork(model).eval().to(device)
        steps.append(partial(_time, network, images, times[name]))
    with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=gpu):
        for step in steps:
            step()
        for values in times.values():
            values.clear()
        take_turns(steps, seconds)
    place = torch.cuda.get_device_name() if gpu else f'CPU, {torch.get_num_threads()} threads'
    _print(times, parameters, f'{width}x{height}, PyTorch {torch.__version__}, {place}', json)


def _time(network: DeployedNetwork, images: torch.Tensor, times: list[float]) -> None:
    start = time.perf_counter()
    network(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    times.append(time.perf_counter() - start)


def _print(
    times: dict[str, list[float]], parameters: dict[str, int], where: str, json: bool
) -> None:
    slowest = max(median(values) for values in times.values())
    rows: list[dict[str, Any]] = [
        {
            'head': name,
            'parameters': parameters[name],
            'network_ms': median(values) * 1e3,
            'times_faster': slowest / median(values),
        }
        for name, values in times.items()
    ]
    if json:
        print(json_text.dumps({'where': where, 'heads': rows}, indent=2))
        return
    table = Table('head', 'parameters of the head, M', 'network, ms', 'times faster', title=where)
    for row in rows:
        table.add_row(
            row['head'],
            f'{row["parameters"] / 1e6:.1f}',
            f'{row["network_ms"]:.0f}',
            f'{row["times_faster"]:.2f}',
        )
    Console().print(table)
