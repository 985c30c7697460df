"""The output folder of a training: recipe, origin, state, models, scores, logs."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import yaml
from torch.utils.tensorboard import SummaryWriter

from dgss_core.confusion import ConfusionMatrix
from dgss_core.errors import DgssError
from dgss_core.files import append_line, no_link, write_whole
from dgss_core.images.paint import colorize, fitted, overlay
from dgss_core.labels import LabelSet
from dgss_core.networks.tensor_files import read_metadata
from dgss_core.paths import is_file, missing, writing
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.evaluation import ModelSegmenter, ScoredSplit
from dgss_core.training.generation.journal import read_entries, unwritable
from dgss_core.training.recipe import CHANGEABLE, changed_keys, origin, read_recipe, written

PICTURE_WIDTH = 640
"""Width in pixels of each of the three parts of a logged picture."""


class Record:
    """The folder of a training.

    `config.yaml`: the recipe with every default. `labels.yaml`: its label set. `origin.jsonl`:
    commit, versions, command and hardware of each start, then what it runs on.
    `state.safetensors`: the state that `--resume` loads. `model.safetensors` and
    `best.safetensors`: the models. `scores.jsonl`: every evaluation. `events.*`: logs for
    TensorBoard. Only the first process writes. Files are replaced as a whole or grow by whole
    lines.
    """

    def __init__(self, folder: Path, first: bool) -> None:
        self.folder, self.first = folder, first
        self.writer: SummaryWriter | None = None
        self._lock: IO[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.folder / 'state.safetensors'

    @property
    def model(self) -> Path:
        return self.folder / 'model.safetensors'

    @property
    def best_model(self) -> Path:
        return self.folder / 'best.safetensors'

    @property
    def scores(self) -> Path:
        return self.folder / 'scores.jsonl'

    @property
    def results(self) -> tuple[Path, Path, Path]:
        return self.model, self.best_model, self.scores

    @property
    def recipe(self) -> Path:
        return self.folder / 'config.yaml'

    @property
    def labels(self) -> Path:
        return self.folder / 'labels.yaml'

    @property
    def origin(self) -> Path:
        return self.folder / 'origin.jsonl'

    def begin(self, config: TrainConfig, hardware: HardwareConfig, resume: bool) -> str:
        """Write the recipe and the origin; return a line about what a resumed recipe changes.

        A start that failed before its first result does not count as a training. Raises DgssError
        if the folder has a training and `resume` is False, if that training had another recipe or
        still runs, if the folder holds files of others, or if it cannot be written to.
        """
        if not self.first:
            return ''
        recipe = written(config)
        text = yaml.safe_dump(recipe, sort_keys=False).encode()
        with self._writable():
            changes = self._check(recipe, resume)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take()
            self._note(origin(config.seed, hardware))
            if not self.recipe.is_file() or self.recipe.read_bytes() != text:
                write_whole(self.recipe, text)
            if not self.state.exists():
                labels = LabelSet.load(config.label_set).to_dict()
                write_whole(self.labels, yaml.safe_dump(labels, sort_keys=False).encode())
        if not changes:
            return ''
        stretched = '; the schedule is stretched over all steps' if 'steps' in changes else ''
        return f'Goes on with a change of {", ".join(changes)}{stretched}.'

    def runs(self, choices: Mapping[str, Any]) -> None:
        """Write into the origin what was chosen for this machine; call it after `begin`.

        Raises DgssError if the folder cannot be written to.
        """
        if self.first:
            with self._writable():
                self._note({'runs': choices})

    def _note(self, entry: Mapping[str, Any]) -> None:
        append_line(self.origin, json.dumps(entry))
        self._take()  # Closing the file anywhere in this process has released the lock.

    @contextmanager
    def _writable(self) -> Iterator[None]:
        with writing(self.folder, 'choose another --output'):
            yield

    def _check(self, recipe: dict[str, Any], resume: bool) -> list[str]:
        """The keys of `recipe` that change a training; those of `CHANGEABLE` may.

        Raises DgssError if a training with `recipe` must not write to the folder.
        """
        for path in (self.recipe, self.labels, self.origin, self.state, *self.results):
            if path.exists() and not path.is_file():
                raise missing('', path, 'remove it, or choose another --output')
        results = [path.name for path in (self.state, *self.results) if path.exists()]
        if results and not resume:
            raise DgssError(
                f'{self.folder} holds a training already ({results[0]}); go on with it by '
                '--resume, or choose another --output.'
            )
        theirs = results or [p.name for p in (self.recipe, self.labels) if p.exists()]
        if theirs and not self.origin.exists() and not self.state.exists():
            raise DgssError(
                f'{self.folder} holds {theirs[0]}, but no training; choose another --output.'
            )
        before = read_recipe(self.recipe) if results else None
        changed = [] if before is None else changed_keys(before, recipe)
        if refused := [key for key in changed if key not in CHANGEABLE]:
            raise DgssError(
                f'{self.folder} was begun with another {", ".join(refused)}; resume it with its '
                f'own recipe: --config {self.recipe}.'
            )
        return changed

    def _take(self) -> None:
        """Lock the folder for this process. Raises DgssError if another one trains in it."""
        if self._lock is not None:
            self._lock.close()
        self._lock = open(self.origin, 'ab', opener=no_link)  # noqa: SIM115
        try:
            # Not flock: the loader processes would inherit that and outlive a killed training.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise DgssError(
                f'Another process trains in {self.folder}; wait for its end, or choose another '
                '--output.'
            ) from error
        except OSError:
            return  # A file system without locks.

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
        try:
            append_line(self.scores, json.dumps(entry, allow_nan=False))
        except OSError as error:
            raise unwritable(self.scores, error) from error

    def rewind(self, step: int, titles: Collection[str] | None = None) -> None:
        """Delete the evaluations after `step` and an incomplete line; they are repeated.

        With `titles` only those of these splits. Raises DgssError if the file is damaged or cannot
        be written.
        """
        if not self.first or not self.scores.is_file():
            return
        lines = [
            json.dumps(entry) + '\n'
            for entry in self._entries()
            if entry['step'] <= step or (titles is not None and entry['on'] not in titles)
        ]
        try:
            write_whole(self.scores, ''.join(lines).encode())
        except OSError as error:
            raise unwritable(self.scores, error) from error

    def best(self, title: str) -> float:
        """The highest mIoU on a split so far; -1 before the first evaluation."""
        known = [e['miou'] for e in self._entries() if e['on'] == title and e['miou'] is not None]
        return max(known, default=-1)

    def lost(self, title: str) -> dict[Path, int]:
        """The models that are gone or damaged, with the step that each was written after."""
        entries = [entry for entry in self._entries() if entry['on'] == title]
        known = [entry for entry in entries if entry['miou'] is not None]
        # The first of equal scores wrote the best model.
        steps = {self.model: entries[-1:], self.best_model: known and [max(known, key=_miou)]}
        return {
            path: found[0]['step']
            for path, found in steps.items()
            if found and not _is_whole(path)
        }

    def scored_on(self, step: int) -> list[str]:
        """The titles of the splits that `step` was scored on."""
        return [entry['on'] for entry in self._entries() if entry['step'] == step]

    def _entries(self) -> list[dict[str, Any]]:
        """The evaluations so far. Raises DgssError if a line is none."""
        # Earlier versions wrote NaN for a split without a labelled pixel.
        entries = read_entries(self.scores, nan=True) if self.scores.is_file() else []
        for number, entry in enumerate(entries, 1):
            if not {'step', 'on', 'miou'} <= entry.keys() or not isinstance(entry['step'], int):
                raise DgssError(f'{self.scores}, line {number}, is no evaluation; remove it.')
        return entries

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
            size = fitted(width=row.shape[1], height=row.shape[0], to_width=3 * PICTURE_WIDTH)
            row = cv2.resize(row, size, interpolation=cv2.INTER_AREA)
            self._events(step).add_image(
                f'{split.title}/{sample.name}', row, step, dataformats='HWC'
            )

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        if self._lock is not None:
            self._lock.close()

    def _events(self, step: int) -> SummaryWriter:
        if self.writer is None:
            # Steps after the last saved state are logged again, so drop their old entries.
            self.writer = SummaryWriter(str(self.folder), purge_step=step)
        return self.writer


def _miou(entry: Mapping[str, Any]) -> float:
    return float(entry['miou'])


def _is_whole(path: Path) -> bool:
    try:
        return is_file(path) and bool(read_metadata(path))
    except DgssError:
        return False


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
