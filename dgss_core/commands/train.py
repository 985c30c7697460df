"""`dgss train`: a recipe on the datasets at hand."""

from __future__ import annotations

from pathlib import Path

from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.loop import train as run

HERE = HardwareConfig()


def train(
    *,
    config: TrainConfig,
    output: Path,
    data: Path = Path('data'),
    resume: bool = False,
    hardware: HardwareConfig = HERE,
) -> None:
    """Train a recipe; under torchrun on several processes and machines.

    Args:
        config: a recipe of config/train, or your own
        output: folder for the models, the saved state, scores and logs
        data: folder that holds the datasets, each under its name
        resume: go on from the last saved state in the output, if there is one
        hardware: how it is run here
    """
    run(config, data, output, hardware, resume)
