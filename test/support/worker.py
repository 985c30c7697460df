"""One process of a distributed training: `worker.py RECIPE DATA OUTPUT STRATEGY [--resume]`."""

import sys
from pathlib import Path

import yaml
from tiny_training import exact_system, parse

from dgss_core.training.config import HardwareConfig
from dgss_core.training.loop import train

exact_system()
config, data, output, strategy, *rest = sys.argv[1:]
hardware = HardwareConfig('cpu', '32-true', workers=0, strategy=strategy)
values = yaml.safe_load(Path(config).read_text())
train(parse(values), Path(data), Path(output), hardware, resume='--resume' in rest)
