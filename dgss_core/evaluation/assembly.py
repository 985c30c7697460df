"""The results of an evaluation: scored frames become the content of `results.json`."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import reduce
from importlib import metadata
from operator import add
from typing import Any

import numpy as np

from dgss_core import __version__
from dgss_core.evaluation.bootstrap import RESAMPLES, intervals
from dgss_core.evaluation.counts import BAND, FrameCounts, PackedCounts, Unpacked, to_arrays
from dgss_core.evaluation.detection import detection
from dgss_core.evaluation.flicker import flicker_scores, total
from dgss_core.evaluation.frames import UNKNOWN, Problem
from dgss_core.evaluation.measures import measures
from dgss_core.evaluation.results import ALL
from dgss_core.evaluation.scores import average, bravo, number, retention, scores
from dgss_core.evaluation.scoring import ScoredFrame
from dgss_core.labels import LabelSet
from dgss_core.synthetic import CONDITIONS

FORMAT = 'dgss-evaluation-1'
NORMAL = 'day'
LIBRARIES = (
    'numpy',
    'opencv-python',
    'opencv-python-headless',
    'onnxruntime',
    'openvino',
    'torch',
)


@dataclass(frozen=True)
class Settings:
    """How frames are scored. `band`: of the boundary IoU, in pixels. `seed`: of the resamples.

    `estimate`: estimate conditions from the images, for frames of which nobody said it.
    """

    band: int = BAND
    resamples: int = RESAMPLES
    seed: int = 0
    estimate: bool = False


def assemble(
    frames: Sequence[ScoredFrame], labels: LabelSet, settings: Settings
) -> dict[str, Any]:
    """Scores of all frames together, per condition and per drive, and the facts of every frame.

    Frames without labels count in none of the scores.
    """
    conditions = _in_order({frame.key.condition for frame in frames})
    groups = {ALL: list(frames)} | {
        name: [frame for frame in frames if frame.key.condition == name] for name in conditions
    }
    drives = sorted({frame.key.drive for frame in frames} - {''})
    by_condition = {name: _scores(group, labels, settings) for name, group in groups.items()}
    adverse = {name: by_condition[name] for name in conditions}
    facts = [_facts(frame) for frame in frames]
    return {
        'label_set': {
            'name': labels.name,
            'classes': [{'name': c.name, 'color': list(c.color)} for c in labels.labels],
        },
        'conditions': by_condition,
        'drives': {
            name: scores(
                _sum([f for f in frames if f.key.drive == name], labels, settings), labels
            )
            for name in drives
        },
        'retention': retention(adverse, NORMAL),
        'bravo': bravo(adverse),
        'monitor': detection(frames, [fact['miou'] for fact in facts], NORMAL),
        'estimated': _estimated(frames),
        'frames': facts,
    }


def provenance() -> dict[str, Any]:
    """When, by which command and with what the figures were made, for a results file."""
    return {
        'made': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'command': shlex.join(['dgss', *sys.argv[1:]]),
        'environment': _environment(),
    }


def _environment() -> dict[str, Any]:
    found = {'dgss': __version__, 'python': platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {
        'system': f'{platform.system()} {platform.release()} {platform.machine()}',
        'cores': os.cpu_count(),
    }


def problems_of(sets: Iterable[Iterable[Problem]]) -> list[dict[str, Any]]:
    """The problems of all sets of frames; the same sentence is told once."""
    merged: dict[str, Problem] = {}
    for problem in (problem for one in sets for problem in one):
        known = merged.setdefault(problem.what, Problem(problem.what, problem.is_note))
        known.count += problem.count
        known.frames += problem.frames
    return [problem.to_dict() for problem in merged.values()]


def arrays(
    frames: Sequence[ScoredFrame], labels: LabelSet, band: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The counts of every frame, as `to_arrays` gives them; zeros without labels."""
    empty = PackedCounts.of(_nothing(labels, band))
    return to_arrays(Unpacked([frame.counts or empty for frame in frames] or [empty]))


def _in_order(conditions: set[str]) -> list[str]:
    known = [name for name in CONDITIONS if name in conditions]
    return known + sorted(conditions - {*known})


def _scores(frames: Sequence[ScoredFrame], labels: LabelSet, settings: Settings) -> dict[str, Any]:
    counted = [frame.counts for frame in frames if frame.counts is not None]
    found = scores(_sum(frames, labels, settings), labels)
    found['flicker'] = flicker_scores(total([frame.flicker for frame in frames]))
    found['confidence'] = average(frame.confidence for frame in frames)
    found['agreement'] = average(frame.agreement for frame in frames)
    if counted:
        drives = [frame.key.drive for frame in frames if frame.counts is not None]
        found['intervals'] = intervals(
            Unpacked(counted), drives, labels, resamples=settings.resamples, seed=settings.seed
        )
    return found


def _sum(frames: Sequence[ScoredFrame], labels: LabelSet, settings: Settings) -> FrameCounts:
    counted = (frame.counts.unpacked() for frame in frames if frame.counts is not None)
    return reduce(add, counted, _nothing(labels, settings.band))


def _nothing(labels: LabelSet, band: int) -> FrameCounts:
    matrix = np.zeros((len(labels), len(labels) + 1), np.int64)
    histogram = np.zeros(256, np.int64)
    return FrameCounts(0, 0, band, matrix, matrix, *[histogram] * 4)


def _estimated(frames: Sequence[ScoredFrame]) -> dict[str, dict[str, int]] | None:
    """How often frames of each told condition were estimated to have each; None if none were."""
    found: dict[str, dict[str, int]] = {}
    for frame in frames:
        if frame.estimate is not None:
            told = frame.key.condition if frame.is_told else UNKNOWN
            row = found.setdefault(told, {})
            row[frame.estimate] = row.get(frame.estimate, 0) + 1
    return found or None


def _facts(frame: ScoredFrame) -> dict[str, Any]:
    counts = None if frame.counts is None else frame.counts.unpacked()
    found = None if counts is None else measures(counts)
    return {
        'name': frame.key.name,
        'source': frame.source,
        'drive': frame.key.drive,
        'condition': frame.key.condition,
        'estimate': frame.estimate,
        'stamp_ns': frame.key.stamp_ns,
        'labelled': found is not None,
        'labelled_pixels': 0 if counts is None else int(counts.confusion.sum()),
        'miou': None if found is None else number(found['miou']),
        'accuracy': None if found is None else number(found['accuracy']),
        'confidence': frame.confidence,
        'shift': frame.shift,
        'flicker': frame.flicker[1].value if 1 in frame.flicker else None,
        'agreement': frame.agreement,
        'milliseconds': None if frame.seconds is None else 1e3 * frame.seconds,
    }
