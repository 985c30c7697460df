"""Pixels of each class in every frame of a dataset, counted once and cached."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from dgss_core.datasets import Dataset
from dgss_core.errors import cause
from dgss_core.files import write_whole
from dgss_core.files.home import cache_folder
from dgss_core.training.progress import read_in_threads

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassStatistics:
    """`counts`: int64 (frames, classes), pixels of each class in each frame."""

    counts: np.ndarray

    @property
    def frequencies(self) -> np.ndarray:
        """Share of each class among all labelled pixels, float64 (classes,); 0 without labels."""
        total = self.counts.sum()
        return self.counts.sum(0) / total if total else np.zeros(self.counts.shape[1])


def class_statistics(dataset: Dataset, cache: Path | None = None) -> ClassStatistics:
    """Count the labels of `dataset`, or read the cached counts of the same content.

    The cache is a safetensors file under `cache`, by default $XDG_CACHE_HOME/dgss/statistics,
    named after the fingerprint of the dataset. If it cannot be written, a warning tells so.
    """
    folder = cache or cache_folder('statistics')
    path = folder / f'{dataset.fingerprint[:32]}.safetensors'
    with suppress(OSError, SafetensorError, KeyError):
        kept = load_file(path)['counts']
        if kept.shape == (len(dataset), len(dataset.label_set)):
            return ClassStatistics(kept)
    counts = _count(dataset)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, save({'counts': counts}))
    except OSError as error:
        _log.warning(
            'The pixels of each class cannot be kept in %s (%s) and are counted again next time; '
            'set XDG_CACHE_HOME to a folder you can write to.',
            folder,
            cause(error),
        )
    return ClassStatistics(counts)


def _count(dataset: Dataset) -> np.ndarray:
    classes = len(dataset.label_set)

    def count(index: int) -> np.ndarray:
        return np.bincount(dataset.labels(index).ravel(), minlength=256)[:classes]

    rows = read_in_threads(count, len(dataset), f'Counting {dataset.title}')
    return np.stack(rows).astype(np.int64)
