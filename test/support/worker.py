"""One process of a distributed training: `worker.py RECIPE DATA OUTPUT STRATEGY [--resume]`."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from tiny_training import exact_system, parse

from dgss_core.training.config import HardwareConfig
from dgss_core.training.loop import train


def main(arguments: list[str]) -> None:
    exact_system()
    config, data, output, strategy, *rest = arguments
    hardware = HardwareConfig('cpu', '32-true', workers=0, strategy=strategy)
    values = yaml.safe_load(Path(config).read_text())
    train(parse(values), Path(data), Path(output), hardware, resume='--resume' in rest)


if __name__ == '__main__':
    main(sys.argv[1:])
