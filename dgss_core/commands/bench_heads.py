"""`dgss bench heads`: the light conv, the query and the Mask2Former head behind one ViT."""

from __future__ import annotations

import json as json_text
import time
from functools import partial
from statistics import median
from typing import Any, Literal

import torch
from rich.table import Table

from dgss_core.commands.limits import above, at_least
from dgss_core.commands.tables import print_table
from dgss_core.commands.turns import take_turns
from dgss_core.export.network import DeployedNetwork
from dgss_core.export.torch_backend import DTYPES, computing_in
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.device import best_device
from dgss_core.networks.encoders.registry import BASE, LARGE, SMALL
from dgss_core.networks.systems import SegmentationModel, build_system

TINY = {'width': 64, 'depth': 4, 'heads': 2}
VITS = {'dinov2-l': LARGE, 'dinov2-b': BASE, 'dinov2-s': SMALL, 'tiny': TINY}
"""Sizes of the ViTs."""


def heads(
    *,
    encoder: Literal['dinov2-l', 'dinov2-b', 'dinov2-s', 'tiny'] = 'dinov2-l',
    width: int = 1024,
    height: int = 512,
    precision: Literal['auto', 'fp32', 'fp16', 'bf16'] = 'auto',
    modes: Literal['both', 'eager', 'compiled'] = 'both',
    seconds: float = 5,
    threads: int = 0,
    json: bool = False,
) -> None:
    """Measure frames per second of three heads behind the same ViT, eager and compiled.

    The networks are those of a bundle, from a uint8 image to class ids, with merged adapters and
    random weights: the speed depends only on the sizes. They take turns, one image at a time.

    Args:
        encoder: the ViT of all three; tiny is for a first try without a GPU
        width: of the image in pixels
        height: of the image in pixels
        precision: fp32, fp16 or bf16; auto is fp16 on a GPU, else fp32
        modes: eager PyTorch, compiled by torch.compile, or both
        seconds: time for each network and mode; they take turns
        threads: CPU threads; 0 keeps the default of PyTorch
        json: print JSON instead of a table
    """
    at_least(32, width=width, height=height)
    at_least(0, threads=threads)
    above(0, seconds=seconds)
    if threads:
        torch.set_num_threads(threads)
    device = best_device()
    chosen = ('fp16' if device == 'cuda' else 'fp32') if precision == 'auto' else precision
    images = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, device=device)
    rows: list[dict[str, Any]] = []
    steps = []
    for head, model in build_models(encoder, max(width, height)).items():
        parameters = sum(p.numel() for p in model.head.parameters())
        network = DeployedNetwork(model).eval().to(device)
        for mode in ('eager', 'compiled') if modes == 'both' else (modes,):
            seconds_of: list[float] = []
            rows.append(
                {'head': head, 'mode': mode, 'parameters': parameters, 'seconds': seconds_of}
            )
            run = torch.compile(network) if mode == 'compiled' else network
            steps.append(partial(_time, run, images, seconds_of))
    with computing_in(device, DTYPES[chosen]):
        for step in steps:
            step()  # Compiles, and fills the caches.
        for row in rows:
            row['seconds'].clear()
        take_turns(steps, seconds)
    place = torch.cuda.get_device_name() if device == 'cuda' else 'CPU'
    threads = torch.get_num_threads()
    where = f'{encoder}, {width}x{height}, {chosen}, PyTorch {torch.__version__}, {place}'
    _report(rows, where if device == 'cuda' else f'{where}, {threads} threads', json)


def build_models(encoder: str, side: int) -> dict[str, SegmentationModel]:
    """The three systems on one ViT with patches of 16, random weights, without adapters.

    `side`: of the square image that the position table is for, in pixels.
    """
    vit, depth = {**VITS[encoder], 'image_size': side}, VITS[encoder]['depth']
    quarters = quarters_of(depth)
    light = build_system('dgss-dinov2-l', encoder_options={**vit, 'taps': quarters})
    query = build_system('dgss-dinov2-l-query', encoder_options={**vit, 'taps': (depth - 2,)})
    for model in (light, query):
        merge_lora(model)
    # With rank=None SoMA is the merged model: a plain ViT with a pyramid of four scales.
    masks = build_system('soma-dinov2-l', encoder_options={**vit, 'taps': quarters}, rank=None)
    return {'light conv': light, 'query': query, 'Mask2Former': masks}


def quarters_of(depth: int) -> list[int]:
    """The last blocks of the four quarters of a ViT of `depth` blocks."""
    return [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]


def _time(network: Any, images: torch.Tensor, times: list[float]) -> None:
    start = time.perf_counter()
    network(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    times.append(time.perf_counter() - start)


def _report(rows: list[dict[str, Any]], where: str, json: bool) -> None:
    slowest = {
        mode: max(median(r['seconds']) for r in rows if r['mode'] == mode)
        for mode in {row['mode'] for row in rows}
    }
    found = [
        {
            'head': row['head'],
            'mode': row['mode'],
            'parameters': row['parameters'],
            'calls': len(row['seconds']),
            'network_ms': 1e3 * median(row['seconds']),
            'frames_per_s': 1 / median(row['seconds']),
            'times_faster': slowest[row['mode']] / median(row['seconds']),
        }
        for row in rows
    ]
    if json:
        print(json_text.dumps({'where': where, 'heads': found}, indent=2))
        return
    table = Table(title=where)
    for column in (
        'head',
        'mode',
        'its parameters, M',
        'network, ms',
        'frames/s',
        'times faster',
    ):
        table.add_column(column, no_wrap=True)
    for row in found:
        table.add_row(
            row['head'],
            row['mode'],
            f'{row["parameters"] / 1e6:.1f}',
            f'{row["network_ms"]:.1f}',
            f'{row["frames_per_s"]:.1f}',
            f'{row["times_faster"]:.2f}',
        )
    print_table(table)
