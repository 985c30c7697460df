"""A recipe as plain values: as it is written, compared when a training goes on, and its origin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError
from dgss_core.paths import located
from dgss_core.runtime.key import processor
from dgss_core.training.compilation import Form
from dgss_core.training.config import HardwareConfig, TrainConfig

PACKAGES = ('torch', 'torchvision', 'lightning-fabric', 'timm', 'numpy')
CHANGEABLE = {
    *('steps', 'save_every'),
    *('evaluation.every', 'evaluation.splits', 'evaluation.pictures'),
}
"""Keys of a recipe that may change when a training is resumed."""


def read_recipe(path: Path) -> dict[str, Any] | None:
    """The recipe at `path`; None if it is missing or damaged, as after a full disk."""
    try:
        recipe = read_yaml(path)
    except DgssError:
        return None
    return _absolute(recipe) if isinstance(recipe, dict) else None


def written(config: TrainConfig) -> dict[str, Any]:
    """The recipe as `config.yaml` holds it: its files are found from any working folder."""
    return _absolute(plain(asdict(config)))


def _absolute(recipe: dict[str, Any]) -> dict[str, Any]:
    return located(recipe, Path.cwd(), Path.cwd())


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys of a recipe that differ, sorted; those inside `evaluation` one by one."""
    both = [{**recipe, **_evaluation(recipe)} for recipe in (before, now)]
    return sorted(key for key in both[1] if both[0].get(key) != both[1][key])


def _evaluation(recipe: Mapping[str, Any]) -> dict[str, Any]:
    inside = recipe.get('evaluation')
    parts = inside if isinstance(inside, dict) else {}
    return {'evaluation': None, **{f'evaluation.{key}': part for key, part in parts.items()}}


def origin(seed: int, hardware: HardwareConfig) -> dict[str, Any]:
    """The origin of results: code, versions, command, hardware, seed."""
    return {
        **source_of(Path(__file__).parents[1]),
        'command': sys.argv,
        'python': sys.version.split()[0],
        'versions': {name: version(name) for name in PACKAGES},
        'hardware': asdict(hardware),
        'seed': seed,
    }


def choices(
    hardware: HardwareConfig, form: Form, in_memory: bool, device: torch.device
) -> dict[str, Any]:
    """What a training runs on: the keys of `hardware` as they were chosen, and the device."""
    on_gpu = device.type == 'cuda'
    return {
        'device': torch.cuda.get_device_name(device) if on_gpu else processor().name,
        'precision': hardware.computes_in,
        'changes': 'device' if hardware.leaves_changes else 'loader',
        **form._asdict(),
        'in_memory': in_memory,
    }


def plain(value: Any) -> Any:
    """`value` with only dicts, lists and scalars, which YAML can write."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def source_of(package: Path) -> dict[str, str | None]:
    """The commit of the code in a folder and its changes since; None if no repository holds it."""
    # A package that is installed may lie in a repository of somebody else.
    if not _git(package, 'ls-files', '.'):
        return {'commit': None, 'changes': None}
    return {
        'commit': _git(package, 'rev-parse', 'HEAD'),
        'changes': _git(package, 'diff', 'HEAD', '--', '.'),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    command = ['git', '-C', str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
