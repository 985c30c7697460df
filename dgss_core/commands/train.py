"""`dgss train`: train a recipe."""

from __future__ import annotations

from pathlib import Path

from dgss_core.training.config import DEFAULT_HARDWARE, HardwareConfig, TrainConfig
from dgss_core.training.loop import train as run


def train(
    *,
    config: TrainConfig,
    output: Path,
    data: Path = Path('data'),
    resume: bool = False,
    hardware: HardwareConfig = DEFAULT_HARDWARE,
) -> None:
    """Train a recipe; with torchrun on several processes and machines.

    Args:
        config: a recipe of config/train, or your own
        output: folder for the models, the saved state, scores and logs
        data: folder that contains the datasets, each under its name
        resume: continue from the last saved state in the output, if there is one
        hardware: how the recipe runs on this machine
    """
    run(config, data, output, hardware, resume)
