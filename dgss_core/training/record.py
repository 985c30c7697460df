"""The output folder of a training: recipe, origin, state, models, scores, logs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from torch.utils.tensorboard import SummaryWriter

from dgss_core.confusion import ConfusionMatrix
from dgss_core.errors import DgssError
from dgss_core.images.paint import colorize, overlay
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.evaluation import ModelSegmenter, ScoredSplit

PACKAGES = ('torch', 'torchvision', 'lightning', 'timm', 'numpy')
PICTURE_WIDTH = 640
"""Width in pixels of each of the three parts of a logged picture."""


class Record:
    """The folder of a training.

    `config.yaml`: the recipe with every default. `origin.jsonl`: commit, versions, command and
    hardware of each start. `state.safetensors`: the state that `--resume` loads.
    `model.safetensors` and `best.safetensors`: the models. `scores.jsonl`: every evaluation.
    `events.*`: logs for TensorBoard. Only the first process writes.
    """

    def __init__(self, folder: Path, first: bool) -> None:
        self.folder, self.first = folder, first
        self.writer: SummaryWriter | None = None

    @property
    def state(self) -> Path:
        return self.folder / 'state.safetensors'

    @property
    def model(self) -> Path:
        return self.folder / 'model.safetensors'

    @property
    def best_model(self) -> Path:
        return self.folder / 'best.safetensors'

    def begin(self, config: TrainConfig, hardware: HardwareConfig, resume: bool) -> None:
        """Write the recipe and the origin.

        Raises DgssError if the folder already has a training and `resume` is False, if that
        training had another recipe, or if the folder cannot be written to.
        """
        if not self.first:
            return
        recipe, path = plain(asdict(config)), self.folder / 'config.yaml'
        if path.exists() and resume:
            self._check_same(recipe, path)
        elif path.exists():
            raise DgssError(
                f'{self.folder} holds a training already; go on with it by --resume, or choose '
                'another --output.'
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(recipe, sort_keys=False))
            with (self.folder / 'origin.jsonl').open('a') as file:
                file.write(json.dumps(origin(config.seed, hardware)) + '\n')
        except OSError as error:
            raise DgssError(
                f'{self.folder} cannot be written to ({error.strerror}); choose another --output.'
            ) from error

    def _check_same(self, recipe: dict[str, Any], path: Path) -> None:
        before = yaml.safe_load(path.read_text())
        changed = sorted(k for k in recipe if before.get(k) != recipe[k])
        if changed:
            raise DgssError(
                f'{self.folder} was begun with another {", ".join(changed)}; resume it with its '
                f'own recipe: --config {path}.'
            )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars to TensorBoard."""
        if self.first:
            for name, value in values.items():
                self._events(step).add_scalar(name, value, step)

    def score(
        self, title: str, matrix: ConfusionMatrix, step: int, names: Sequence[str] = ()
    ) -> None:
        """Write one evaluation: its mIoU, and the IoU and the name of every class.

        A figure is null if no labelled pixel can give it.
        """
        if not self.first:
            return
        self.log({f'mIoU/{title}': matrix.miou}, step)
        entry = {
            'step': step,
            'on': title,
            'miou': _or_none(matrix.miou),
            'iou': [_or_none(iou) for iou in matrix.iou()],
            'classes': list(names),
        }
        with (self.folder / 'scores.jsonl').open('a') as file:
            file.write(json.dumps(entry, allow_nan=False) + '\n')

    def rewind(self, step: int) -> None:
        """Delete the evaluations after `step`; the resumed training repeats them."""
        path = self.folder / 'scores.jsonl'
        if self.first and path.is_file():
            kept = [line for line in path.open() if json.loads(line)['step'] <= step]
            path.write_text(''.join(kept))

    def best(self, title: str) -> float:
        """The highest mIoU on a split so far; -1 before the first evaluation."""
        path = self.folder / 'scores.jsonl'
        entries = [json.loads(line) for line in path.open()] if path.is_file() else []
        known = [e['miou'] for e in entries if e['on'] == title and e['miou'] is not None]
        # Older files hold NaN.
        return max((miou for miou in known if not math.isnan(miou)), default=-1)

    def is_scored(self, step: int, splits: int) -> bool:
        """Whether `step` was scored on as many `splits`; False if there are none to tell by."""
        path = self.folder / 'scores.jsonl'
        lines = path.read_text().splitlines() if path.is_file() else []
        found = sum(json.loads(line)['step'] == step for line in lines)
        return 0 < splits <= found

    def pictures(
        self, segmenter: ModelSegmenter, split: ScoredSplit, count: int, step: int
    ) -> None:
        """Log image, prediction and labels of `count` frames, side by side, to TensorBoard.

        Every process must call it, because all processes gather sharded weights together.
        """
        every = max(1, len(split.dataset) // max(1, count))
        for sample in islice(split.frames(every // 2, every), count):
            mask = segmenter(sample.image).mask
            if not self.first:
                continue
            predicted = overlay(sample.image, mask, segmenter.labels)
            size = sample.image.shape[1::-1]
            labels = cv2.resize(sample.labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
            truth = colorize(labels, split.dataset.label_set)
            row = np.concatenate((sample.image, predicted, truth), axis=1)
            height = round(row.shape[0] * 3 * PICTURE_WIDTH / row.shape[1])
            row = cv2.resize(row, (3 * PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA)
            self._events(step).add_image(
                f'{split.title}/{sample.name}', row, step, dataformats='HWC'
            )

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _events(self, step: int) -> SummaryWriter:
        if self.writer is None:
            # Steps after the last saved state are logged again, so drop their old entries.
            self.writer = SummaryWriter(str(self.folder), purge_step=step)
        return self.writer


def origin(seed: int, hardware: HardwareConfig) -> dict[str, Any]:
    """The origin of results: code, versions, command, hardware, seed."""
    return {
        'commit': _git('rev-parse', 'HEAD'),
        'changes': _git('diff', 'HEAD'),
        'command': sys.argv,
        'python': sys.version.split()[0],
        'versions': {name: version(name) for name in PACKAGES},
        'hardware': asdict(hardware),
        'seed': seed,
    }


def plain(value: Any) -> Any:
    """`value` with only dicts, lists and scalars, which YAML can write."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _git(*arguments: str) -> str | None:
    command = ['git', '-C', str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
