"""Processes: one, or many started by torchrun on one or several machines."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from dgss_core.errors import DgssError
from dgss_core.networks.device import keep_freed_memory
from dgss_core.networks.encoders import Encoder
from dgss_core.training.config import HardwareConfig
from dgss_core.training.fabric import Fabric, ModelParallelStrategy


def build_fabric(hardware: HardwareConfig) -> Fabric:
    """Fabric for the processes that torchrun started, or for one process.

    On a CPU, this process keeps the memory that it frees from now on.

    Raises DgssError if a machine has fewer GPUs than processes.
    """
    logging.getLogger('lightning_fabric.utilities.rank_zero').setLevel(logging.WARNING)
    local = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    world = int(os.environ.get('WORLD_SIZE', 1))
    gpus = torch.cuda.device_count()
    if hardware.accelerator == 'cuda' and gpus < local:
        raise DgssError(
            f'torch finds {gpus} GPUs on this machine for {local} processes; start as many as '
            'there are GPUs, or set hardware.accelerator to cpu.'
        )
    strategy: Any = 'auto' if world == 1 else 'ddp'
    if hardware.strategy == 'fsdp':
        strategy = ModelParallelStrategy(shard, data_parallel_size=world, tensor_parallel_size=1)
    fabric = Fabric(
        accelerator=hardware.accelerator,
        devices=local,
        num_nodes=world // local,
        strategy=strategy,
        precision=hardware.computes_in,
    )
    fabric.launch()
    if not hardware.gpu:
        keep_freed_memory()
    return fabric


def shard(objective: nn.Module, mesh: Any) -> nn.Module:
    """Shard the parameters of an objective over the processes (FSDP2): each encoder block by
    itself, then the rest of each part."""
    mesh = mesh['data_parallel']
    for part in objective.children():
        for module in list(part.modules()):
            if isinstance(module, Encoder):
                for block in module.sharded_blocks():
                    fully_shard(block, mesh=mesh)
        # Weights must be sharded again after a pass, because averages are swapped in and out.
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
        for method in ('loss', 'at_size', 'features_and_scores'):
            if hasattr(part, method):
                register_fsdp_forward_method(part, method)
    return objective
