"""`dgss bench gpu`: one network in PyTorch, eager and compiled, and in what runs its bundle."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from rich.console import Console

from dgss_core.commands.bench_heads import VITS, quarters_of
from dgss_core.commands.bench_model import check_load, model
from dgss_core.commands.limits import at_least
from dgss_core.export.bundle import manifest_of
from dgss_core.export.graph import write_narrow, write_onnx
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.checkpoint import About, save_checkpoint
from dgss_core.networks.systems import build_system
from dgss_core.runtime.backends import check_backend
from dgss_core.runtime.bundle.writing import write_bundle

SYSTEM = 'dgss-dinov2-l'


def gpu(
    *,
    encoder: Literal['dinov2-l', 'dinov2-b', 'dinov2-s', 'tiny'] = 'dinov2-l',
    width: int = 1024,
    height: int = 512,
    precision: Literal['auto', 'fp32', 'fp16', 'bf16'] = 'auto',
    backend: str = 'onnxruntime',
    batch: int = 1,
    seconds: float = 10,
    threads: int = 0,
    json: bool = False,
) -> None:
    """Time a ViT in PyTorch, eager and compiled, and its bundle in other backends, in one run.

    The light conv head, merged adapters and random weights: the speed depends only on the sizes.
    Nothing is verified, because rounding decides the classes of random weights. For onnxruntime on
    a GPU install onnxruntime-gpu in place of onnxruntime.

    Args:
        encoder: the ViT; tiny is for a first try without a GPU
        width: of the image in pixels
        height: of the image in pixels
        precision: of the layers, in all of them; auto is fp16 on a GPU, else fp32
        backend: of the bundle, several joined by commas
        batch: images in one call
        seconds: time for each; they take turns
        threads: CPU threads, 0 for all cores
        json: print JSON instead of a table
    """
    at_least(32, width=width, height=height)
    check_load(batch, seconds, threads)
    for name in backend.split(','):
        check_backend(name)
    has_gpu = torch.cuda.is_available()
    chosen = ('fp16' if has_gpu else 'fp32') if precision == 'auto' else precision
    with TemporaryDirectory(prefix='dgss-') as scratch:
        checkpoint, bundle = write(
            Path(scratch), encoder, width=width, height=height, precision=chosen
        )
        narrow = '' if chosen == 'fp32' else chosen
        eager = f'torch:{checkpoint}' + (f'?{narrow}' if narrow else '')
        compiled = f'torch:{checkpoint}?compile' + (f'+{narrow}' if narrow else '')
        model(
            bundle=bundle,
            backend=','.join((eager, compiled, backend)),
            batch=batch,
            seconds=seconds,
            threads=threads,
            unverified=True,
            cache_dir=Path(scratch) / 'engines',  # nobody takes kernels of random weights again
            json=json,
        )


def write(
    folder: Path, encoder: str, *, width: int, height: int, precision: str
) -> tuple[Path, Path]:
    """Write a checkpoint of random weights and its bundle into `folder`; returns both paths."""
    vit, taps = VITS[encoder], quarters_of(VITS[encoder]['depth'])
    sizes: dict[str, Any] = {
        'encoder_options': {**vit, 'taps': taps, 'image_size': max(width, height)}
    }
    torch.manual_seed(0)
    network = build_system(SYSTEM, **sizes).eval()
    checkpoint = folder / f'{encoder}.safetensors'
    save_checkpoint(network, checkpoint, About(SYSTEM, sizes, 'random', licence='none'))
    Console(stderr=True).print(f'Exporting {encoder}, {width}x{height}, {precision}.')
    plain = folder / 'fp32.onnx'
    merge_lora(network)
    write_onnx(DeployedNetwork(network), plain, height=height, width=width)
    exported = plain
    if precision != 'fp32':
        exported = folder / f'{precision}.onnx'
        write_narrow(plain, exported, precision)
    manifest = manifest_of(
        network,
        name=encoder,
        height=height,
        width=width,
        licence='none',
        training_data=(),
        precision=precision,
    )
    write_bundle(folder / 'bundle', exported, manifest)
    return checkpoint, folder / 'bundle'
