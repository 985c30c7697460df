"""What `dgss evaluate` scores: a bundle, a checkpoint, or masks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dgss_core.bags.bag import Bag, is_bag
from dgss_core.datasets.protocols import Protocol
from dgss_core.errors import DgssError, missing_error
from dgss_core.evaluation.live import live_results, recorded_labels
from dgss_core.evaluation.predictors import (
    BagMasks,
    FolderMasks,
    Predictor,
    SegmenterPredictor,
    find_mask_topic,
)
from dgss_core.labels import LabelSet
from dgss_core.runtime.backend import Report
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.pipeline import lanes_for
from dgss_core.runtime.segmenter import Segmenter

CHECKPOINTS = 'dgss_core.training.predictor'
"""Where checkpoints are run, by torch: imported only for them."""


@dataclass(frozen=True)
class Facts:
    """What the results say of a model.

    `labels`: of its masks. `live`: of a replay through the node.
    """

    about: dict[str, Any]
    labels: LabelSet
    live: dict[str, Any] | None = None


@dataclass(frozen=True)
class Model:
    """What predicts, and what the results say of it."""

    predictor: Predictor
    facts: Facts
    statistics: SourceStatistics | None = None


def of_checkpoint(path: Path, ways: Protocol, threads: int) -> Model:
    predictor = import_module(CHECKPOINTS).CheckpointPredictor(path, ways, threads)
    about = {'kind': 'checkpoint', 'identity': predictor.identity, 'backend': 'torch'}
    return Model(predictor, Facts(about, predictor.labels))


def of_bundle(
    stack: ExitStack,
    bundle: Bundle,
    *,
    backend: str,
    threads: int,
    ways: Protocol,
    report: Report,
) -> Model:
    if ways.window is not None:
        raise DgssError(
            f'The {ways.title} needs --checkpoint: a bundle runs whole images at its own size.'
        )
    lanes = lanes_for(threads)
    segmenter = stack.enter_context(
        Segmenter(bundle, backend, threads, report=report, lanes=lanes)
    )
    about = {
        'kind': 'bundle',
        'identity': segmenter.identity,
        'backend': segmenter.backend.identity,
    }
    facts = Facts(about, segmenter.labels)
    return Model(SegmenterPredictor(segmenter), facts, bundle.manifest.source)


def open_masks(path: Path) -> Path | Bag:
    """A folder of masks, or a bag, opened once. Raises DgssError for anything else."""
    if path.exists() and is_bag(path):
        return Bag(path)
    if not path.is_dir():
        raise missing_error(
            path, f'There are no masks at {path}; give a folder of PNGs, or a bag.'
        )
    return path


def labels_of_masks(masks: Path | Bag, topic: str | None) -> LabelSet | None:
    """The label set that was recorded with the masks of a bag; None where there is none."""
    if isinstance(masks, Path):
        return None
    return recorded_labels(masks, find_mask_topic(masks, topic))


def of_masks(masks: Path | Bag, labels: LabelSet, topic: str | None, tolerance_ns: int) -> Model:
    about = {'kind': 'masks', 'backend': None}
    if isinstance(masks, Path):
        folder = FolderMasks(masks, labels)
        return Model(folder, Facts(about | {'identity': folder.identity}, labels))
    bag = BagMasks(masks, labels, topic, tolerance_ns)
    live = live_results(masks, bag.topic)
    return Model(bag, Facts(about | {'identity': bag.identity}, labels, live))
