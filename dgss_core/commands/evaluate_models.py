"""What `dgss evaluate` scores: a bundle, a checkpoint, or masks."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dgss_core.bags.bag import Bag, is_bag
from dgss_core.datasets.protocols import Protocol
from dgss_core.errors import DgssError
from dgss_core.evaluation.live import live_results, recorded_labels
from dgss_core.evaluation.predictors import (
    BagMasks,
    FolderMasks,
    Predictor,
    SegmenterPredictor,
    find_mask_topic,
)
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.segmenter import Segmenter

CHECKPOINTS = 'dgss_core.training.predictor'
"""Where checkpoints are run, by torch: imported only for them."""


@dataclass(frozen=True)
class Model:
    """What predicts. `about`: what the results say of it. `live`: of a replay through the node."""

    predictor: Predictor
    about: dict[str, Any]
    statistics: SourceStatistics | None = None
    live: dict[str, Any] | None = None


def of_checkpoint(path: Path, ways: Protocol, threads: int) -> Model:
    predictor = import_module(CHECKPOINTS).CheckpointPredictor(path, ways, threads)
    about = {'kind': 'checkpoint', 'identity': predictor.identity, 'backend': 'torch'}
    return Model(predictor, about)


def of_bundle(
    stack: ExitStack, bundle: Bundle, backend: str, threads: int, ways: Protocol
) -> Model:
    if ways.window is not None:
        raise DgssError(
            f'The {ways.title} needs --checkpoint: a bundle runs whole images at its own size.'
        )
    segmenter = stack.enter_context(Segmenter(bundle, backend, threads, report=_say))
    about = {
        'kind': 'bundle',
        'identity': segmenter.identity,
        'backend': segmenter.backend.identity,
    }
    return Model(SegmenterPredictor(segmenter), about, bundle.manifest.source)


def labels_of_masks(path: Path, topic: str | None) -> LabelSet | None:
    """The label set that was recorded with the masks of a bag; None where there is none."""
    if not path.exists() or not is_bag(path):
        return None
    return recorded_labels(path, find_mask_topic(Bag(path), topic))


def of_masks(path: Path, labels: LabelSet, topic: str | None, tolerance_ns: int) -> Model:
    if not path.is_dir() and not is_bag(path):
        raise DgssError(f'There are no masks at {path}; give a folder of PNGs, or a bag.')
    about = {'kind': 'masks', 'backend': None}
    if not is_bag(path):
        folder = FolderMasks(path, labels)
        return Model(folder, about | {'identity': folder.identity})
    bag = BagMasks(path, labels, topic, tolerance_ns)
    live = live_results(path, bag.topic)
    return Model(bag, about | {'identity': bag.identity}, live=live)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
